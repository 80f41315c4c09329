"""No entry of the log holds a secret, whoever wrote it there and in whatever form."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskpass.core.audit import events as audit
from taskpass.core.audit.canonical import canonical, entry_bytes
from taskpass.core.audit.redaction import INSTEAD, as_logged, forms, redacted, suspicious
from taskpass.core.audit.terms import moment
from tests.unit.core.test_audit import ALL, NOW

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
SHAPES = {
    "a JSON Web Token": JWT,
    "one without a signature": JWT.rpartition(".")[0],
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----",
    "a token of Vault": "hvs.canary0000000000000000000",
    "a token of GitHub": "ghp_canary0000000000000000000000",
    "a fine-grained one": "github_pat_canary000000000000000000",
    "a token of GitLab": "glpat-canary00000000000000",
    "a key of AWS": "AKIACANARY0000000000",
    "a token of Slack": "xoxb-canary-000000",
    "a header": "Authorization: Bearer canary-000000",
    "a header of another kind": "basic Y2FuYXJ5OmNhbmFyeQ==",
    "a URL with a password": "https://canary:canary-word@example.org/x",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("around", ["{}", "ticket/{}", "a {} b"])
def test_what_looks_like_a_secret_is_not_written(shape: str, around: str) -> None:
    secret = SHAPES[shape]
    data = {"cred": {"resources": ["ticket/4711", around.format(secret)]}}

    clean, count = redacted(data, ())

    assert suspicious(canonical({"data": data}))
    assert count == 1
    assert clean["cred"]["resources"][0] == "ticket/4711"
    assert INSTEAD in clean["cred"]["resources"][1]
    for word in ("canary", "CANARY", "Y2FuYXJ5", "eyJzdWIi"):
        assert word not in clean["cred"]["resources"][1]


@pytest.mark.parametrize(
    "text",
    [
        "ticket/4711", "https://example.org/a@b", "namespace/tickets", "Bearer of bad news",
        "basic needs", "eyJ", "AKIA", "ghp_short", "hvs.", "PRIVATE KEYHOLE", "user@example.org",
        "sha256:0123456789abcdef", "a://b:c", "key.jwt.io",
    ],
)  # fmt: skip
def test_what_only_resembles_one_is_written_as_it_is(text: str) -> None:
    assert redacted({"resources": [text]}, ()) == ({"resources": [text]}, 0)


def test_every_kind_of_entry_passes_unchanged() -> None:
    for make in ALL.values():
        body = entry_bytes(make(NOW), source="o", time=moment(NOW), adjusted=False)

        assert b"redacted" not in body


def test_the_logs_own_keys_are_left_whatever_they_spell() -> None:
    vkey = "log+0f6aab79+AKIA0123456789ABCDEF"

    assert redacted({"vkey": vkey, "prev_vkey": vkey}, ()) == ({"vkey": vkey, "prev_vkey": vkey}, 0)


@given(secret=st.binary(min_size=8, max_size=60), before=st.binary(max_size=5))
def test_a_value_that_is_in_use_is_found_in_every_form_in_which_it_travels(
    secret: bytes, before: bytes
) -> None:
    live = forms(secret)
    after = b"tail"
    whole = before + secret + after
    texts = [
        whole.hex(), whole.hex().upper(), quote(whole), base64.b64encode(whole).decode(),
        base64.urlsafe_b64encode(whole).decode(), base64.b64encode(secret).decode(),
    ]  # fmt: skip

    for text in texts:
        assert redacted({"x": [f"({text})"]}, live) == ({"x": [INSTEAD]}, 1), text


@given(st.text(min_size=8, alphabet=st.characters(codec="utf-8")))
def test_a_value_that_is_text_is_found_as_it_is(secret: str) -> None:
    assert redacted({"x": f"a{secret}b"}, forms(secret.encode())) == ({"x": INSTEAD}, 1)


def test_a_very_short_value_is_not_looked_for() -> None:
    assert forms(b"admin") == ()


def test_an_entry_that_was_cleaned_says_so() -> None:
    entry = ALL["issue intent"](NOW)
    data = {**entry.data, "cred": {**entry.data["cred"], "resources": [JWT, "ticket/1"]}}
    dirty = audit.Entry(
        id=entry.id, type=entry.type, time=NOW, task=entry.task, data=data, grant_id="g"
    )

    body = entry_bytes(dirty, source="o", time=moment(NOW), adjusted=False)

    assert b'"redacted":1' in body
    assert b'"resources":["[redacted]","ticket/1"]' in body


@pytest.mark.parametrize(
    "text",
    ["x://ghp_aaaaaaaaaaaaaaaaaaaa:b@sha256:aa", "Bearer Bearer aaaaaaaaaaaa", "plain",
     "x://" + 50 * "a:b@" + "c", "eyJabcdefgh.eyJabcdefgh.eyJabcdefgh.eyJabcdefgh"],
)  # fmt: skip
def test_what_was_redacted_once_is_redacted(text: str) -> None:
    assert as_logged(as_logged(text)) == as_logged(text)
