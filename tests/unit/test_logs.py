"""Log lines: one line each, with what belongs to it."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from taskpass.core.model.grant import SecretValue
from taskpass.runtime.log_format import QUIET, LineFormatter, configure


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Send all logs to a stream, and put logging back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in QUIET}
    made = io.StringIO()
    configure("info", made)
    yield made
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def formatted(message: str, **extra: object) -> str:
    """Return one record as a line, without its time."""
    record = logging.LogRecord("taskpass", logging.INFO, "", 0, message, (), None)
    record.__dict__.update(extra)
    return LineFormatter().format(record).partition(" ")[2]


def test_a_line_says_level_message_and_what_belongs_to_it() -> None:
    line = formatted("Issued credential", task="support/ticket-4711", count=2)

    assert line == "info Issued credential task=support/ticket-4711 count=2"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("two words", "'two words'", id="a space"),
        pytest.param("a=b", "'a=b'", id="an equals sign"),
        pytest.param("", "''", id="nothing"),
        pytest.param("line\nfaked=1", r"'line\nfaked=1'", id="a line break"),
        pytest.param("\x1b[31mred", r"'\x1b[31mred'", id="an escape sequence"),
    ],
)
def test_a_value_never_makes_a_line_or_a_key_of_its_own(value: str, shown: str) -> None:
    assert formatted("Seen", name_=value) == f"info Seen name_={shown}"


def test_a_secret_is_not_printed() -> None:
    line = formatted("Seen", secret=SecretValue(b"hunter2"))

    assert "hunter2" not in line


def test_a_traceback_follows() -> None:
    try:
        raise ValueError("a bug")
    except ValueError:
        record = logging.LogRecord("t", logging.ERROR, "", 0, "Failed", (), sys.exc_info())

    lines = LineFormatter().format(record).splitlines()

    assert lines[0].endswith("error Failed ")
    assert lines[-1] == "ValueError: a bug"


def test_what_is_below_the_level_is_not_said(stream: io.StringIO) -> None:
    logging.getLogger("taskpass.test").debug("Too small")
    logging.getLogger("taskpass.test").info("Large enough")

    assert "Too small" not in stream.getvalue()
    assert "Large enough" in stream.getvalue()


@pytest.mark.parametrize("name", QUIET)
def test_libraries_say_only_what_is_a_warning(stream: io.StringIO, name: str) -> None:
    logging.getLogger(name).info("Chatter")
    logging.getLogger(name).warning("Trouble")

    assert "Chatter" not in stream.getvalue()
    assert "Trouble" in stream.getvalue()


def test_what_others_wrote_does_not_fill_the_log() -> None:
    line = formatted("m" * 100_000, task="x" * 1_000_000, error="beginning " + "y" * 9999 + " end")

    assert len(line) < 10_000
    assert "beginning" in line
    assert line.endswith("end'")
