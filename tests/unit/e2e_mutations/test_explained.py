"""A survivor is explained, or told of; an explanation that does not hold is told of."""

from e2e.mutations.explained import Reason, explained, stale
from e2e.mutations.mutants import Mutant

REASON = Reason("p", ("variables.1.expression: ",), "nothing reads it")


def mutant(change: str, policy: str = "p") -> Mutant:
    return Mutant("policies", policy, change, {})


def test_a_reason_is_for_what_begins_as_it_says_of_its_policy() -> None:
    assert explained(mutant("variables.1.expression: without clause 'a'"), (REASON,))
    assert not explained(mutant("variables.10.expression: without clause 'a'"), (REASON,))
    assert not explained(mutant("variables.1.expression: without clause 'a'", "q"), (REASON,))


def test_a_reason_that_holds_is_not_stale() -> None:
    fates = {
        mutant("variables.1.expression: without clause 'a'"): "survived",
        mutant("variables.1.expression: without clause 'b'"): "survived",
        mutant("rule 0 is gone"): "killed",
    }

    assert stale(fates, (REASON,)) == []


def test_a_reason_is_stale_where_a_row_notices_one_of_its_mutants() -> None:
    fates = {
        mutant("variables.1.expression: without clause 'a'"): "survived",
        mutant("variables.1.expression: without clause 'b'"): "killed",
    }

    assert stale(fates, (REASON,)) == ["p: variables.1.expression: : killed and survived"]


def test_a_reason_is_stale_where_there_is_no_such_mutant() -> None:
    assert stale({mutant("rule 0 is gone"): "killed"}, (REASON,)) == [
        "p: variables.1.expression: : not there"
    ]


def test_nothing_is_said_of_a_policy_that_was_not_tried_as_a_whole() -> None:
    some = {mutant("rule 0 is gone"): "killed", mutant("rule 1 is gone"): "not tried"}

    assert stale(some, (REASON,)) == []
    assert stale({mutant("rule 0 is gone", "q"): "killed"}, (REASON,)) == []
