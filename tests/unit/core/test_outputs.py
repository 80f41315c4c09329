"""Which key of the Secret each field is written to."""

import pytest

from taskpass.core.lifecycle.outputs import collision, keys_of
from tests.simulation.builders import request


def test_each_field_has_a_key_with_the_credentials_name() -> None:
    assert keys_of(request("tickets"), ["token", "server"]) == {
        "tickets.token": "token",
        "tickets.server": "server",
    }


def test_outputs_come_beside_the_usual_keys() -> None:
    asked = request("tickets", outputs=[("token", "TICKETS_TOKEN")])

    assert keys_of(asked, ["token"]) == {"tickets.token": "token", "TICKETS_TOKEN": "token"}


def test_one_field_can_have_several_keys() -> None:
    asked = request("tickets", outputs=[("token", "A"), ("token", "B")])

    assert keys_of(asked, ["token"]) == {"tickets.token": "token", "A": "token", "B": "token"}


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        pytest.param(
            request("kb", outputs=[("token", "TOKEN")]),
            request("tickets", outputs=[("token", "TOKEN")]),
            "'TOKEN'",
            id="two outputs",
        ),
        pytest.param(
            request("kb"),
            request("tickets", outputs=[("token", "kb.token")]),
            "'kb.token'",
            id="another credential's own key",
        ),
        pytest.param(
            request("kb", outputs=[("token", "tickets.anything")]),
            request("tickets"),
            "'tickets.anything'",
            id="another credential's prefix",
        ),
    ],
)
def test_two_credentials_never_write_one_key(first: object, second: object, named: str) -> None:
    said = collision([first, second])  # type: ignore[list-item]

    assert said is not None
    assert named in said
    assert "give it another key" in said


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([], id="nothing"),
        pytest.param([request("kb"), request("tickets")], id="no outputs"),
        pytest.param([request("kb", outputs=[("token", "kb.other")])], id="its own prefix"),
        pytest.param(
            [
                request("kb", outputs=[("token", "KB")]),
                request("tickets", outputs=[("token", "TICKETS")]),
            ],
            id="different keys",
        ),
    ],
)
def test_different_keys_do_not_collide(requests: list[object]) -> None:
    assert collision(requests) is None  # type: ignore[arg-type]
