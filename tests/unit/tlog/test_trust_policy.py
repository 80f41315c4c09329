"""Trust policies as C2SP tlog-policy has them: how many of which witnesses must have cosigned."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskpass.tlog.checkpoint import PublicKey
from taskpass.tlog.cosignature import WitnessKey
from taskpass.tlog.trust_policy import BadPolicy, asked, parse_policy

LOG = PublicKey("example.org/log", bytes([1]) * 32)
X1, X2, X3, Y1 = (WitnessKey(f"w{n}.example.org", bytes([n]) * 32) for n in (2, 3, 4, 5))
TWO_LEVELS = f"""
# two of X, and Y
log {LOG.vkey()} https://log.example.org
witness X1 {X1.vkey()} https://x1.example.org/
\twitness X2 {X2.vkey()}
witness X3 {X3.vkey()}
witness Y1 {Y1.vkey()} https://y1.example.org
group X 2 X1 X2 X3
group all-of-it all X Y1
quorum all-of-it
"""


def test_a_policy_names_logs_witnesses_and_addresses() -> None:
    policy = parse_policy(TWO_LEVELS)

    assert policy.logs == (LOG,)
    assert [each.key for each in policy.witnesses.values()] == [X1, X2, X3, Y1]
    assert [each.url for each in asked(policy)] == [
        "https://x1.example.org/", "https://y1.example.org",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "enough"),
    [
        ([], False),
        ([X1, X2, X3], False),
        ([X1, Y1], False),
        ([X1, X3, Y1], True),
        ([X1, X2, X3, Y1], True),
    ],
)
def test_a_quorum_of_groups_is_met_where_each_group_is(
    seen: list[WitnessKey], enough: bool
) -> None:
    assert parse_policy(TWO_LEVELS).met(seen) is enough


def test_none_demands_nobody_and_a_name_demands_that_witness() -> None:
    one = f"witness a {X1.vkey()}\nquorum a\n"

    assert parse_policy("quorum none").met([])
    assert not parse_policy(one).met([X2])
    assert parse_policy(one).met([X1])


def test_any_is_one_of_them() -> None:
    text = f"witness a {X1.vkey()}\nwitness b {X2.vkey()}\ngroup g any a b\nquorum g"

    assert parse_policy(text).met([X2])
    assert not parse_policy(text).met([X3])


W = f"witness a {X1.vkey()}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no quorum"),
        (W, "there is no quorum"),
        ("quorum a", "line 1: 'a' is not a witness or group of a line before"),
        (f"{W}quorum a\nquorum a", "line 3: there is a quorum already"),
        (f"{W}witness a {X2.vkey()}\nquorum a", "line 2: the name 'a' is taken"),
        (f"witness none {X1.vkey()}\nquorum none", "line 1: the name 'none' is taken"),
        (f"{W}witness b {X1.vkey()}\nquorum a", "line 2: the key is there already"),
        (f"log {LOG.vkey()}\nlog {LOG.vkey()}\nquorum none", "line 2: the key is there already"),
        (f"{W}group g 2 a\nquorum g", "line 2: '2' must be any, all, or a number up to 1"),
        (f"{W}group g 0 a\nquorum g", "line 2: '0' must be any, all, or a number up to 1"),
        (f"{W}group g all a a\nquorum g", "line 2: 'a' is a member already, and counts once"),
        (f"{W}group g all a\ngroup h all a\nquorum h", "line 3: 'a' is a member already"),
        (f"{W}group g all g\nquorum g", "line 2: 'g' is not a witness or group of a line before"),
        (f"{W}group g all\nquorum g", "line 2: must be 'log VKEY"),
        ("quorum", "line 1: must be 'log VKEY"),
        ("witness a b c d\nquorum none", "line 1: must be 'log VKEY"),
        (f"log {X1.vkey()}\nquorum none", "line 1: the key is not one of Ed25519"),
        (f"witness a {LOG.vkey()}\nquorum a", "line 1: the key is not one that a witness"),
        ("quorum none\r\n", "control characters"),
        ("#" * 70_000, "too long"),
    ],
)
def test_a_text_that_is_no_policy_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BadPolicy, match=said):
        parse_policy(text)


@given(st.text(max_size=300))
def test_any_text_is_a_policy_or_refused_as_none(text: str) -> None:
    with contextlib.suppress(BadPolicy):
        assert parse_policy(text).met([]) in (True, False)
