"""What a soak with databases adds: lives that hold roles, and a server that goes and comes back."""

import contextlib
import random
import signal
import threading
from collections import Counter
from collections.abc import Sequence

import psycopg

from e2e.impersonate import Object
from e2e.postgresql.databases import ROLE, Databases
from e2e.postgresql.server import PostgresServer
from e2e.soak.lives import Lives
from e2e.stage import request

LONGEST_AWAY = 5.0
LONGEST_WHOLE = 8.0


class DatabaseLives(Lives):
    """Lives that ask for one provider's credentials, or for both's; those of databases are used."""

    ASKS: tuple[Sequence[Object], ...] = (
        *Lives.ASKS, [ROLE], [ROLE, request()], [ROLE, ROLE | {"name": "again"}],
    )  # fmt: skip

    def _see_token(self, name: str) -> None:
        super()._see_token(name)
        stage = self._stage
        assert isinstance(stage, Databases)
        # The server may be down, the role gone, or the task without one.
        with contextlib.suppress(psycopg.Error, KeyError):
            session = stage.login(name)
            session.execute("BEGIN")
            self.counts["(sessions of tasks)"] += 1


class ServerDeaths:
    """Kills, stops and halts a server at random, from a thread of its own, and has it come back."""

    def __init__(self, server: PostgresServer, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._server = server
        self._random = random.Random(seed)
        self._going = threading.Event()
        self._ended = threading.Event()
        self._whole = threading.Event()
        self._over = threading.Event()
        # The server ends with the thread that has started it, so that one goes with the process.
        self._thread = threading.Thread(target=self._run, name="server deaths", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._going.set()
        self._thread.start()

    def pause(self) -> None:
        """Return once the server is whole; it stays so until `go_on`."""
        self._going.clear()
        self._whole.wait()

    def go_on(self) -> None:
        """Begin again."""
        self._going.set()

    def stop(self) -> None:
        """End for good; the server is whole."""
        self._ended.set()
        self._going.set()
        self._over.wait()

    def _run(self) -> None:
        try:
            while not self._ended.wait(self._random.uniform(1, LONGEST_WHOLE)):
                self._whole.set()
                self._going.wait()
                self._whole.clear()
                if not self._ended.is_set():
                    self._fail()
        except Exception as error:
            self.failures.append(f"a server's death failed: {type(error).__name__}: {error}")
        finally:
            self._whole.set()
            self._over.set()
        threading.Event().wait()

    def _fail(self) -> None:
        how = self._random.choice(("killed", "stopped", "halted"))
        self.counts[f"PostgreSQL {how}"] += 1
        away = self._random.uniform(0.2, LONGEST_AWAY)
        if how == "halted":
            self._server.freeze()
            self._ended.wait(away)
            self._server.thaw()
            return
        self._server.stop(signal.SIGKILL if how == "killed" else signal.SIGINT)
        self._ended.wait(away)
        self._server.start()
