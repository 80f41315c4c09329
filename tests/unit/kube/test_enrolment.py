"""Which namespaces are served, and what of them is known, as the watches have it."""

import asyncio
from typing import Any

import pytest

from taskpass.core.lifecycle.snapshot import Sight
from taskpass.kube.api.client import KubeClient
from taskpass.kube.cache.enrolment import Enrolment
from taskpass.kube.cache.reflector import Reflector
from tests.unit.kube.scripted_server import Script

NAMESPACE = ("", "support")


class Watches:
    """Three reflectors that have listed all there is."""

    def __init__(self, client: KubeClient) -> None:
        made: list[Reflector[Any]] = [
            Reflector(client, path, str, lambda *_: None)
            for path in ("/api/v1/namespaces", "/api/v1/pods", "/api/v1/serviceaccounts")
        ]
        self.namespaces, self.pods, self.accounts = made
        for each in made:
            each.synced.set()
        self.namespaces._versions[NAMESPACE] = ("uid", "1")
        self.enrolment = Enrolment(
            self.namespaces, {"support": self.pods}, {"support": self.accounts}, 60.0
        )


@pytest.fixture
async def watches(script: Script) -> Watches:
    async with script.client() as client:
        return Watches(client)


def test_a_namespace_that_is_listed_and_there_is_served_and_seen(watches: Watches) -> None:
    assert watches.enrolment.enrolled("support")
    assert watches.enrolment.sight("support") == Sight()


def test_one_that_the_settings_do_not_list_is_not_served(watches: Watches) -> None:
    assert not watches.enrolment.enrolled("sales")


def test_one_that_a_whole_list_does_not_hold_is_not_served(watches: Watches) -> None:
    watches.namespaces._versions.clear()

    assert not watches.enrolment.enrolled("support")


def test_that_namespaces_were_never_listed_says_of_none_that_it_is_gone(watches: Watches) -> None:
    watches.namespaces._versions.clear()
    watches.namespaces.synced.clear()

    assert watches.enrolment.enrolled("support")


@pytest.mark.parametrize("which", ["pods", "accounts"])
@pytest.mark.parametrize(
    ("seconds", "served"), [(0.0, True), (59.9, True), (60.0, False)], ids=["one", "59 s", "60 s"]
)
def test_a_refusal_stops_issuing_at_once_and_ends_the_rest_once_it_has_lasted(
    watches: Watches, which: str, seconds: float, served: bool
) -> None:
    refused = getattr(watches, which)
    refused.refused, refused.refused_seconds, refused.last_error = True, seconds, "403"

    assert watches.enrolment.enrolled("support") is served
    assert "may not be read: 403" in watches.enrolment.sight("support").issuance_blocked_reason


def test_rights_that_were_gone_are_not_there_again_because_of_an_outage(watches: Watches) -> None:
    watches.pods.refused, watches.pods.refused_seconds = False, 60.0

    assert not watches.enrolment.enrolled("support")


@pytest.mark.parametrize(("which", "field"), [("pods", "pods"), ("accounts", "accounts")])
def test_what_was_never_listed_or_cannot_be_read_is_not_known(
    watches: Watches, which: str, field: str
) -> None:
    watch = getattr(watches, which)
    watch.unreadable["support", "odd"] = "the operator's log says why"
    odd = watches.enrolment.sight("support")
    watch.unreadable.clear()
    watch.synced = asyncio.Event()
    never = watches.enrolment.sight("support")

    assert (getattr(odd, field), getattr(never, field)) == (False, False)
    assert "one of its" in odd.issuance_blocked_reason
    assert "are listed" in never.issuance_blocked_reason
    assert watches.enrolment.enrolled("support")
