"""What others wrote is shown as theirs: quoted, escaped, and no wider than its words."""

import pytest

from taskpass.core.model.text import plain, quoted, word


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ok", '"ok"'),
        ('ok"; by ceo', '"ok\\"; by ceo"'),
        ("a \\", '"a \\\\"'),
        ("a" + 60 * " " + "b", '"a b"'),
        ("a\t\n b", '"a b"'),
        ("a\u00a0\u3000\u2003b", '"a b"'),
        ("a\u2800\u3164\u115f\uffa0b", '"a b"'),
    ],
)
def test_free_text_is_in_quotes_that_it_cannot_end_and_has_no_wide_blanks(
    text: str, shown: str
) -> None:
    assert plain(quoted(text)) == shown


@pytest.mark.parametrize("name", ["jane@example.org", "system:serviceaccount:support:ci", "a/b-1"])
def test_one_word_is_shown_as_it_is(name: str) -> None:
    assert word(name) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "a, by b", "a;b", 'a"', "(erased)", "a\x1b[2J", "a\\", "a  b"]
)
def test_what_could_be_read_as_more_than_a_name_is_quoted(name: str) -> None:
    assert word(name) == quoted(name)


HIDDEN = (
    "\u00ad\u034f\u115f\u1160\u17b4\u180b\u200b\u200d\u2060\u2800\u3164\ufe0f\ufeff\uffa0\U000e0100"
)


@pytest.mark.parametrize("nothing", [*HIDDEN, "\u00a0", "\u2003", "\u202e", "\x85", "\u2028", "\t"])
def test_no_two_names_look_alike_for_what_shows_nothing(nothing: str) -> None:
    """Most are letters' own marks, so that Python prints them."""
    name, other = f"jane{nothing}@example.org", f"jane{nothing}{nothing}@example.org"

    assert plain(word(name)) == word(name)
    assert word(name).isascii()
    assert len({word(name), word(other), word("jane@example.org"), word("jane @example.org")}) == 4


@pytest.mark.parametrize("name", ["zo\u00eb@example.org", "\u3042\u3044", "\u0561\u0562"])
def test_names_of_all_the_world_are_shown_as_they_are(name: str) -> None:
    assert word(name) == name
