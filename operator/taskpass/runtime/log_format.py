"""Log lines: time, level, message, then what belongs to it as key=value. One line each."""

import logging
import sys
from typing import TextIO

PLAIN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime"}
QUIET = ("kopf.objects", "kopf", "aiohttp", "asyncio", "kubernetes")
LONGEST_MESSAGE, LONGEST_VALUE, LONGEST_TRACEBACK = 2_000, 2_000, 16_000


class LineFormatter(logging.Formatter):
    """Formats `extra` as key=value; control characters of values are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback follows on lines of its own."""
        extra = {k: v for k, v in vars(record).items() if k not in PLAIN}
        parts = [
            self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            record.levelname.lower(),
            _shortened(record.getMessage(), LONGEST_MESSAGE),
            *(f"{key}={_value(value)}" for key, value in extra.items()),
        ]
        if record.exc_info:
            parts.append(
                "\n" + _shortened(self.formatException(record.exc_info), LONGEST_TRACEBACK)
            )
        return " ".join(parts)


def _value(value: object) -> str:
    text = _shortened(str(value), LONGEST_VALUE)
    plain = text.isprintable() and text and not any(c in ' "=' for c in text)
    return text if plain else repr(text)


def _shortened(text: str, most: int) -> str:
    """Return the beginning and the end of what is too long: others may have written it."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} … {text[-half:]}"


def configure(level: str, stream: TextIO = sys.stderr) -> None:
    """Send everything to the stream; libraries only what is a warning."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It says that it leaves signals to us.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
