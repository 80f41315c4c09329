"""Checkpoints and keys, byte for byte, and whatever is not one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskpass.ledger.log.signing import SeedSigner, verify_signature
from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    PublicKey,
    Signature,
    open_checkpoint,
    parse_note,
    parse_vkey,
    signed_note,
)

ORIGIN = "audit.taskpass.example/c-3c1f0a9e/log-1"
VKEY = f"{ORIGIN}+2d0b7bae+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"
BODY = f"{ORIGIN}\n5\nOWzC8+pXpLvOMYsH2CT91q0pLUsT6Q9WrpQRsWTbETY=\n"
OURS = (
    f"— {ORIGIN} LQt7rswuDfyH9evTVx4RhyD4bbC1TlW3hDVhckJ8MYDhq1so5nN0P8+HOm2xZo5+7SpeVj43nWw2Gwo"
    "/hyGYGpgAaw4=\n"
)
WITNESS = (
    "— witness.taskpass.example/w1 D2qreQAAAABrBU7wSUagkohvhy0q8IAH90Cd2nMeJqkpA4oy3ku260CNvDJD3Mco"
    "5dwLdOIFEyx5S4V/quhw5sWPj7bwtg6kA6g5Aw==\n"
)
SIGNER = SeedSigner(bytes([7]) * 32)
KEY = PublicKey(ORIGIN, SIGNER.public_key)


def sign(body: str, name: str = ORIGIN, signer: SeedSigner = SIGNER) -> Signature:
    return Signature(name, PublicKey(name, signer.public_key).id, signer.sign(body.encode()))


def opened(text: str) -> Checkpoint:
    return open_checkpoint(text, KEY, verify_signature)


def test_the_published_key_is_written_and_read() -> None:
    assert KEY.vkey() == VKEY
    assert parse_vkey(VKEY + "\n") == KEY


def test_the_published_checkpoint_is_written_byte_for_byte() -> None:
    checkpoint = opened(BODY + "\n" + OURS)

    assert checkpoint.size == 5
    assert checkpoint.body() == BODY
    assert signed_note(BODY, sign(BODY)) == BODY + "\n" + OURS


def test_a_witness_signature_beside_ours_is_accepted() -> None:
    assert opened(BODY + "\n" + OURS + WITNESS) == opened(BODY + "\n" + OURS)


def test_the_signed_note_of_the_specification_holds() -> None:
    key = parse_vkey("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    note = (
        "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2"
        "ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )

    body, (signature,) = parse_note(note)

    assert body == "This is an example message.\n"
    assert signature.key_id == key.id
    assert verify_signature(key.raw, body.encode(), signature.raw)


def test_every_flipped_bit_of_the_text_is_noticed() -> None:
    raw = (BODY + "\n" + OURS).encode()
    accepted = []
    for at in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[at // 8] ^= 1 << at % 8
        try:
            opened(flipped.decode())
        except (BadCheckpoint, UnicodeDecodeError):
            continue
        accepted.append(at)

    assert accepted == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(BODY, id="no signature"),
        pytest.param(BODY + "\n" + WITNESS, id="only another's signature"),
        pytest.param(BODY + "\n" + OURS.rstrip("\n"), id="no newline at the end"),
        pytest.param(BODY + "\n" + OURS + "more\n", id="a line that is no signature"),
        pytest.param(BODY + "\n" + OURS * 101, id="too many signatures"),
        pytest.param(BODY + "\n" + OURS.replace("=\n", "\n"), id="no padding"),
        pytest.param(BODY + "\n" + OURS.replace("aw4=", "aw5="), id="another form of base64"),
        pytest.param(BODY + "\n" + OURS.replace("aw4=", "aw4\t="), id="a control character"),
        pytest.param("x" * 70_000, id="a text without end"),
    ],
)
def test_what_is_not_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadCheckpoint):
        opened(text)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BODY.replace("\n5\n", "\n05\n"), id="a leading zero"),
        pytest.param(BODY.replace("\n5\n", "\n-5\n"), id="a negative size"),
        pytest.param(BODY.replace("\n5\n", "\n\u0665\n"), id="a digit of another script"),
        pytest.param(BODY + "extension\n", id="a further line"),
        pytest.param(BODY.replace("ETY=", "ET="), id="a root that is cut"),
        pytest.param(BODY.replace(ORIGIN, "audit.taskpass.example/other"), id="another origin"),
    ],
)
def test_a_body_of_another_form_is_refused_though_it_is_signed(body: str) -> None:
    with pytest.raises(BadCheckpoint):
        opened(signed_note(body, sign(body)))


def test_the_signature_of_another_checkpoint_is_refused() -> None:
    other = BODY.replace("\n5\n", "\n6\n")

    with pytest.raises(BadCheckpoint, match="wrong"):
        opened(signed_note(BODY, sign(other)))


def test_a_good_signature_does_not_cover_for_a_wrong_one_of_the_same_key() -> None:
    with pytest.raises(BadCheckpoint, match="wrong"):
        opened(signed_note(BODY, sign(BODY), sign(BODY + " ")))


def test_another_key_under_the_same_origin_is_refused() -> None:
    another = SeedSigner(bytes([8]) * 32)

    with pytest.raises(BadCheckpoint, match="has not signed"):
        opened(signed_note(BODY, sign(BODY, signer=another)))


@pytest.mark.parametrize(
    "vkey",
    [
        pytest.param("", id="nothing"),
        pytest.param(VKEY.replace("2d0b7bae", "2d0b7baf"), id="another id"),
        pytest.param(VKEY.replace("2d0b7bae", "2D0B7BAE"), id="an id in capitals"),
        pytest.param(VKEY[:-4], id="cut"),
        pytest.param(
            "witness.taskpass.example/w1+0f6aab79+BP0XJDhaoMdbZPt4zWAvodmR/ev3axPFjtcC6sg16fYY",
            id="a witness's key, of another kind",
        ),
        pytest.param(VKEY.replace("taskpass", "task pass"), id="a name with a space"),
    ],
)
def test_what_is_not_a_key_is_refused(vkey: str) -> None:
    with pytest.raises(BadCheckpoint):
        parse_vkey(vkey)


@given(st.text(max_size=200))
def test_no_text_makes_the_parsers_fail_in_another_way(text: str) -> None:
    for candidate in (text, f"{text}\n\n— a {text}\n", f"{ORIGIN}\n{text}\n\n{OURS}"):
        with pytest.raises(BadCheckpoint):
            opened(candidate)
