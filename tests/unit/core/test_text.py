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
    "name", ["", "a b", "a, by b", "a;b", 'a"', "(erased)", "a\u2800b", "a\x1b[2J", "a\\"]
)
def test_what_could_be_read_as_more_than_a_name_is_quoted(name: str) -> None:
    assert word(name) == quoted(name)
