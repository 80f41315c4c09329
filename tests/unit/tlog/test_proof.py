"""Proofs of one entry, as text: C2SP tlog-proof."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskpass.tlog.merkle import BadProof, leaf_hash
from taskpass.tlog.proof import TlogProof, parse_tlog_proof

NOTE = (
    "audit.taskpass.example/c-3c1f0a9e/log-1\n5\n"
    "OWzC8+pXpLvOMYsH2CT91q0pLUsT6Q9WrpQRsWTbETY=\n\n"
    "\u2014 audit.taskpass.example/c-3c1f0a9e/log-1 LQt7rswuDfyH9evTVx4RhyD4bbC1TlW3hDVh"
    "ckJ8MYDhq1so5nN0P8+HOm2xZo5+7SpeVj43nWw2Gwo/hyGYGpgAaw4=\n"
)
PATH = """\
gR+MJClAf/75fl1Ogf+IsSZJHIFQFu7+yHl8q59j0SU=
jXl7tY1h9ngEf9+So5ARexbYcYuVcwOpIxo2z24MX3U=
VAZmcWJr+jVQiIzLFHPW+pMPjB8FUW32AfrPCRRf+CE=
"""
PROOF = f"c2sp.org/tlog-proof@v1\nindex 2\n{PATH}\n{NOTE}"
"""Of the third of five entries, {"i":0} to {"i":4}."""


def test_the_published_proof_is_written_byte_for_byte_and_holds() -> None:
    hashes = tuple(base64.b64decode(line) for line in PATH.splitlines())

    assert TlogProof(2, hashes, NOTE).text() == PROOF
    parse_tlog_proof(PROOF).check(leaf_hash(b'{"i":2}'))


@pytest.mark.parametrize("entry", [b'{"i":1}', b'{"i":2}\n', b""])
def test_another_entry_is_not_shown_by_it(entry: bytes) -> None:
    with pytest.raises(BadProof):
        parse_tlog_proof(PROOF).check(leaf_hash(entry))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("index 2", "index 3", id="another index"),
        pytest.param("\n5\n", "\n9\n", id="another size"),
        pytest.param("VAZmcWJr+jVQiIzLFHPW+pMPjB8FUW32AfrPCRRf+CE=\n", "", id="a hash less"),
    ],
)
def test_what_was_changed_in_it_does_not_hold(old: str, new: str) -> None:
    with pytest.raises(BadProof):
        parse_tlog_proof(PROOF.replace(old, new)).check(leaf_hash(b'{"i":2}'))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("@v1", "@v2", id="another version"),
        pytest.param("index 2", "index 02", id="an index with a leading zero"),
        pytest.param("index 2", "extra AAAA\nindex 2", id="an extra line, of no meaning to us"),
        pytest.param("gR+M", "gR+", id="a line that is not base64"),
        pytest.param("0SU=\n", "0SV=\n", id="base64 in another form"),
        pytest.param("\n5\n", "\n05\n", id="a size with a leading zero"),
        pytest.param("\n\n", "\n", id="no empty line"),
    ],
)
def test_what_is_not_a_proof_is_refused(old: str, new: str) -> None:
    with pytest.raises(BadProof):
        parse_tlog_proof(PROOF.replace(old, new, 1))


@given(st.text(max_size=200), st.integers(0, len(PROOF)), st.integers(0, 40))
def test_no_text_makes_the_parser_fail_in_another_way(text: str, at: int, cut: int) -> None:
    changed = PROOF[:at] + text + PROOF[at + cut :]
    try:
        parse_tlog_proof(changed)
    except BadProof:
        return
    assert parse_tlog_proof(changed).text() == changed
