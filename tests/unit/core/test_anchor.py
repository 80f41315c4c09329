"""What a memory outside of the log shows, and what the log alone does not."""

from dataclasses import replace

import pytest

from taskpass.core.audit.anchor import AnchorReason, Head, compare, finding_of
from taskpass.tlog.merkle import Tree, leaf_hash

LEAVES = [leaf_hash(bytes([number])) for number in range(40)]


def root_of(size: int) -> bytes:
    tree = Tree()
    for leaf in LEAVES[:size]:
        tree.append(leaf)
    return tree.root()


def head(size: int, origin: str = "log") -> Head:
    return Head(origin=origin, size=size, root=root_of(size))


@pytest.mark.parametrize("remembered", [1, 2, 39, 40])
def test_a_log_that_has_grown_from_what_is_remembered_is_well(remembered: int) -> None:
    reason, _ = compare(head(remembered), head(40), root_of)

    assert reason is AnchorReason.ANCHORED
    assert finding_of(reason, "").status == "True"


@pytest.mark.parametrize(
    ("remembered", "now", "reason", "said"),
    [
        pytest.param(
            head(40), head(39), AnchorReason.AUDIT_ROLLBACK,
            "The log has 39 entries, and had 40", id="an older copy",
        ),
        pytest.param(
            replace(head(30), root=bytes(32)), head(40), AnchorReason.AUDIT_FORK,
            "The log's first 30 entries are not those that are remembered", id="written anew",
        ),
        pytest.param(
            replace(head(40), root=bytes(32)), head(40), AnchorReason.AUDIT_FORK,
            "The log's first 40 entries are not those", id="another of the same size",
        ),
        pytest.param(
            head(10, "lost"), head(40), AnchorReason.AUDIT_FORK,
            "The log is 'log', and 'lost' is remembered", id="another log, though it is longer",
        ),
    ],
)  # fmt: skip
def test_a_log_that_was_replaced_is_found(
    remembered: Head, now: Head, reason: AnchorReason, said: str
) -> None:
    found, message = compare(remembered, now, root_of)

    assert found is reason
    assert said in message
    assert "Nothing is issued" in message
    assert finding_of(found, message).status == "False"


def test_without_a_memory_whatever_is_there_is_believed() -> None:
    """What the log alone cannot show: this would pass for any log that its key has signed."""
    reason, message = compare(None, head(3), root_of)

    assert reason is AnchorReason.FIRST_MEMORY
    assert "3 entries are believed" in message
    assert finding_of(reason, message).status == "True"
