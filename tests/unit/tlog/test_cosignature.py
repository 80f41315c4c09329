"""Cosignatures of witnesses, byte for byte as others make them."""

import base64
from dataclasses import replace

import pytest

from taskpass.ledger.log.signing import SeedSigner, verify_signature
from taskpass.tlog.checkpoint import BadCheckpoint, parse_note, signed_note
from taskpass.tlog.cosignature import (
    WitnessKey,
    cosignature,
    cosigned_at,
    cosigned_message,
    parse_witness_vkey,
)

VKEY = "witness.taskpass.example/w1+0f6aab79+BP0XJDhaoMdbZPt4zWAvodmR/ev3axPFjtcC6sg16fYY"
BODY = "audit.taskpass.example/c-3c1f0a9e/log-1\n5\nOWzC8+pXpLvOMYsH2CT91q0pLUsT6Q9WrpQRsWTbETY=\n"
LINE = (
    "\u2014 witness.taskpass.example/w1 D2qreQAAAABrBU7wSUagkohvhy0q8IAH90Cd2nMeJqkpA4oy3ku260CNv"
    "DJD3Mco5dwLdOIFEyx5S4V/quhw5sWPj7bwtg6kA6g5Aw==\n"
)
TIME = 1_795_510_000
SIGNER = SeedSigner(bytes([9]) * 32)
KEY = WitnessKey("witness.taskpass.example/w1", SIGNER.public_key)


def note(*lines: str) -> str:
    return BODY + "\n" + "".join(lines)


def test_the_published_key_and_line_are_written_and_read() -> None:
    made = cosignature(KEY, TIME, SIGNER.sign(cosigned_message(BODY, TIME)))

    assert KEY.vkey() == VKEY
    assert parse_witness_vkey(VKEY) == KEY
    assert made.line() == LINE
    assert cosigned_at(note(LINE), KEY, verify_signature) == TIME


def test_the_newest_of_several_counts() -> None:
    later = cosignature(KEY, TIME + 60, SIGNER.sign(cosigned_message(BODY, TIME + 60)))

    assert cosigned_at(note(later.line(), LINE), KEY, verify_signature) == TIME + 60


def test_a_note_without_its_line_is_not_cosigned() -> None:
    other = replace(KEY, name="another")

    assert cosigned_at(note(LINE), other, verify_signature) is None


@pytest.mark.parametrize(
    ("body", "at"),
    [
        pytest.param(BODY.replace("\n5\n", "\n6\n"), TIME, id="of another checkpoint"),
        pytest.param(BODY, TIME + 1, id="at another time"),
    ],
)
def test_a_line_that_does_not_hold_is_refused(body: str, at: int) -> None:
    raw = SIGNER.sign(cosigned_message(body, at))
    forged = signed_note(BODY, cosignature(KEY, TIME, raw))

    with pytest.raises(BadCheckpoint, match=r"the cosignature of '.*' is wrong"):
        cosigned_at(forged, KEY, verify_signature)


def test_a_line_that_is_cut_is_refused() -> None:
    [signature] = parse_note(note(LINE))[1]
    cut = signed_note(BODY, replace(signature, raw=signature.raw[:-1]))

    with pytest.raises(BadCheckpoint, match="another form"):
        cosigned_at(cut, KEY, verify_signature)


def test_a_logs_own_key_is_none_of_a_witness() -> None:
    log = (
        "audit.taskpass.example/c-3c1f0a9e/log-1+2d0b7bae+"
        "AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"
    )
    assert base64.b64decode(log.rpartition("+")[2])[:1] == b"\x01"

    with pytest.raises(BadCheckpoint, match="not one that a witness cosigns with"):
        parse_witness_vkey(log)
