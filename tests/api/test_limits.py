import pytest
from crd_validation import refusals
from limits import Excess, excesses, full, variants

EXCESSES = list(excesses())


@pytest.mark.parametrize(("kind", "variant"), list(variants()))
def test_an_object_that_has_every_field_is_accepted(kind: str, variant: str) -> None:
    assert refusals(full(kind, variant)) == []


@pytest.mark.parametrize("excess", EXCESSES, ids=str)
def test_what_is_one_over_a_limit_is_refused(excess: Excess) -> None:
    said = refusals(excess.thing)

    assert any(excess.message in line for line in said), said


def test_every_kind_of_limit_is_tried() -> None:
    kinds = {each.message.split(" than")[0].split(" 1")[0] for each in EXCESSES}

    assert {"Too long", "Too many", "must have at most"} < kinds
    assert len(EXCESSES) > 100
