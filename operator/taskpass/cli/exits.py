"""How a command ends that does not end well: a line on standard error, and an exit code.

0 it holds, or was done; 1 the answer is no: of the audit log, that is evidence of tampering; 2 what
was typed or set cannot be used; 3 something that is needed is not there; 4 the log holds, and fewer
witnesses have seen it than was asked for; 5 a fault of taskpass, which tells nothing of anything;
130 ended by Ctrl-C, or by a no to a question; 141 whoever read the output has gone.
"""

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from taskpass.cli.output import say
from taskpass.core.errors import TaskpassError, UsageError

READER_GONE = 141
TELL_WHERE = "taskpass.traceback"
"""Set in a context's `meta` by a command whose faults are told with a traceback as well."""


class Failed(click.ClickException):
    """What was typed or set cannot be used."""

    exit_code = 2

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self._lines = lines

    def show(self, file: Any = None) -> None:
        """Print the lines."""
        say(*self._lines, err=True)


class FoundTampering(Failed):
    """What was checked is not what was signed."""

    exit_code = 1


class Unknown(Failed):
    """The answer is no."""

    exit_code = 1


class CouldNotTell(Failed):
    """What was to be checked is not there."""

    exit_code = 3


class BelowLevel(Failed):
    """It holds, and fewer have seen it than was asked for."""

    exit_code = 4


class Aborted(Failed):
    """Whoever typed it would rather not."""

    exit_code = 130


class Fault(Failed):
    """Something of ours is wrong: nothing is known of what was asked."""

    exit_code = 5


class Commands(click.Group):
    """A group of which every command, also of a group within, ends as said above."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            _hang_up()
            sys.exit(READER_GONE)
        except Exception as error:
            end = ending_of(error)
            if isinstance(end, Fault) and ctx.meta.get(TELL_WHERE):
                traceback.print_exception(error)
            raise end from error


def ending_of(error: BaseException) -> Failed:
    """Return how a command ends that raised this. What nobody expected is no answer to anything."""
    match error:
        case UsageError():
            return Failed(f"taskpass: {error}")
        case TaskpassError():
            return CouldNotTell(f"taskpass: {error}")
        case OSError():
            return CouldNotTell(f"taskpass: {of_system(error)}")
        case BaseExceptionGroup():
            found = leaves(error)
            strange = [each for each in found if not isinstance(each, TaskpassError)]
            return ending_of(strange[0]) if strange else CouldNotTell(*map(_line, found))
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Fault(f"taskpass: a fault of its own, which tells nothing: {what[:300]}{_place(error)}")


def of_system(error: OSError) -> str:
    """Return what the system refused, and of which file."""
    why = error.strerror or str(error) or type(error).__name__
    return f"{error.filename} cannot be used ({why})" if error.filename else why


def leaves(group: BaseException | None) -> list[BaseException]:
    """Return the errors in a group of groups."""
    if isinstance(group, BaseExceptionGroup):
        return [leaf for each in group.exceptions for leaf in leaves(each)]
    return [group] if group is not None else []


def _line(error: BaseException) -> str:
    return f"taskpass: {error}"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _hang_up() -> None:
    """Leave nothing to be flushed to who has gone."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
