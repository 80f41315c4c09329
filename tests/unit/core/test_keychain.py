"""Which key of a log may sign which size."""

from typing import Any

import pytest

from taskpass.core.audit.key_history import BadChain, KeyChain, sizes_of
from taskpass.tlog.checkpoint import BadCheckpoint, Checkpoint, PublicKey, Signature, signed_note

NAME = "audit.example/c-1/log-1"
KEYS = [PublicKey(NAME, bytes([n]) * 32) for n in range(4)]


def genesis(key: PublicKey, source: str = NAME) -> dict[str, Any]:
    return {"type": "dev.taskpass.log.genesis", "source": source, "data": {"vkey": key.vkey()}}


def rotation(before: PublicKey, after: PublicKey) -> dict[str, Any]:
    data = {"prev_vkey": before.vkey(), "vkey": after.vkey(), "reason": "yearly"}
    return {"type": "dev.taskpass.log.key_rotate", "source": NAME, "data": data}


CHAIN = (
    KeyChain.of_genesis(genesis(KEYS[0]))
    .handed_over(rotation(KEYS[0], KEYS[1]), 10)
    .handed_over(rotation(KEYS[1], KEYS[2]), 20)
)


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Stand in for Ed25519: a signature is the key and the message."""
    return signature == key + message


def note(size: int, *keys: int, wrong: tuple[int, ...] = (), name: str = NAME) -> str:
    body = Checkpoint(name, size, bytes(32)).body()
    lines = [
        Signature(name, KEYS[k].id, (b"x" if k in wrong else KEYS[k].raw) + body.encode())
        for k in keys
    ]
    return signed_note(body, *lines)


def test_the_keys_follow_from_the_first() -> None:
    assert [span.key for span in CHAIN.spans] == KEYS[:3]
    assert [(span.since, span.until) for span in CHAIN.spans] == [(0, 10), (10, 20), (20, None)]
    assert CHAIN.current == KEYS[2]
    assert CHAIN.handovers == (10, 20)
    assert list(CHAIN.entries) == [0, 9, 19]
    assert CHAIN.has(KEYS[1])
    assert not CHAIN.has(KEYS[3])


@pytest.mark.parametrize(
    ("size", "keys"),
    [(1, [0]), (9, [0]), (10, [0, 1]), (11, [1]), (20, [1, 2]), (21, [2]), (99, [2])],
)
def test_each_size_is_signed_by_the_key_of_its_time_and_a_handover_by_both(
    size: int, keys: list[int]
) -> None:
    assert CHAIN.open(note(size, *keys), verify).size == size


REFUSED = [
    pytest.param(note(11, 0), id="the old key, right after the handover"),
    pytest.param(note(99, 0), id="the old key, long after"),
    pytest.param(note(99, 1), id="the key in the middle, after its own handover"),
    pytest.param(note(99, 2, 0), id="the old key beside the right one"),
    pytest.param(note(99, 2, 0, wrong=(0,)), id="a line in the old key's name, not even signed"),
    pytest.param(note(9, 1), id="a key before its handover"),
    pytest.param(note(9, 0, 1), id="a key before its handover, beside the right one"),
    pytest.param(note(10, 0), id="a handover that only the old key signed"),
    pytest.param(note(10, 1), id="a handover that only the new key signed"),
    pytest.param(note(10, 0, 1, wrong=(0,)), id="a handover whose old signature is wrong"),
    pytest.param(note(10, 0, 1, wrong=(1,)), id="a handover whose new signature is wrong"),
    pytest.param(note(99, 3), id="a key that the log never had"),
    pytest.param(note(99), id="nobody"),
    pytest.param(note(99, 2, name="audit.example/c-1/log-2"), id="another log"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_a_checkpoint_that_the_wrong_key_signed_is_refused(text: str) -> None:
    with pytest.raises(BadCheckpoint):
        CHAIN.open(text, verify)


@pytest.mark.parametrize("wrong", [(), (0,)], ids=["signed", "not signed"])
def test_a_key_is_said_to_have_signed_only_what_it_has(wrong: tuple[int, ...]) -> None:
    with pytest.raises(BadCheckpoint) as refused:
        CHAIN.open(note(99, 2, 0, wrong=wrong), verify)

    assert ("has signed size 99" in str(refused.value)) == (not wrong)
    assert KEYS[0].id.hex() in str(refused.value)
    assert "0 to 10 only" in str(refused.value)


def test_a_line_of_somebody_else_is_no_harm() -> None:
    assert CHAIN.open(note(99, 2, 3), verify).size == 99


@pytest.mark.parametrize(
    ("event", "size"),
    [
        pytest.param(rotation(KEYS[0], KEYS[3]), 30, id="from a key of long ago"),
        pytest.param(rotation(KEYS[3], KEYS[1]), 30, id="from a key of somebody else"),
        pytest.param(rotation(KEYS[2], KEYS[0]), 30, id="back to the first key"),
        pytest.param(rotation(KEYS[2], KEYS[2]), 30, id="to itself"),
        pytest.param(rotation(KEYS[2], PublicKey("x", bytes(32))), 30, id="of another log"),
        pytest.param({"data": {}}, 30, id="without keys"),
        pytest.param({"data": {"vkey": 1, "prev_vkey": None}}, 30, id="keys that are none"),
        pytest.param({}, 30, id="without data"),
    ],
)
def test_a_handover_that_does_not_follow_is_refused(event: dict[str, Any], size: int) -> None:
    with pytest.raises(BadChain):
        CHAIN.handed_over(event, size)


@pytest.mark.parametrize(
    "event",
    [genesis(KEYS[0], source="x"), rotation(KEYS[0], KEYS[1]), {}, {**genesis(KEYS[0]), "data": 1}],
)
def test_a_log_that_does_not_begin_with_its_key_has_no_keys(event: dict[str, Any]) -> None:
    with pytest.raises(BadChain):
        KeyChain.of_genesis(event)


def test_the_list_of_keys_names_their_sizes() -> None:
    assert sizes_of(CHAIN.text()) == (10, 20)
    assert CHAIN.text().splitlines()[1] == f"10 {KEYS[1].vkey()}"


@pytest.mark.parametrize("text", ["", "1 x\n", "0 x\n-1 x\n", "0 x\n\u0661 x\n", "0 x\nx\n"])
def test_a_list_of_keys_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadChain):
        sizes_of(text)
