"""Start a PostgreSQL server with TLS, as a user that is not root, and take it away again.

`TASKPASS_POSTGRESQL` names a directory with other binaries than Debian's (`…/bin`).
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from e2e.cluster.packages import missing, need
from e2e.cluster.pki import Authority

BINARIES = Path("/usr/lib/postgresql/15/bin")
PACKAGES = {"postgresql-15": str(BINARIES / "postgres")}
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")
"""Debian's package starts a server of its own unless this says otherwise."""
NOBODY = 65534
USER = NOBODY if os.geteuid() == 0 else None
"""A server refuses to run as root."""
GROUPS = None if USER is None else ()
PREFIX = "taskpass-postgresql-"
PR_SET_PDEATHSIG = 1
HOST = "localhost"
ADDRESS = "127.0.0.1"


def binaries() -> Path:
    """Return where the server's programs are; Debian's are installed where they are missing."""
    if named := os.environ.get("TASKPASS_POSTGRESQL"):
        return Path(named)
    if missing(PACKAGES) and os.geteuid() == 0:
        NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        NO_CLUSTER.write_text("create_main_cluster = false\n")
    need(PACKAGES)
    return BINARIES


class PostgresServer:
    """One server; its superuser is `postgres`, by the socket in `directory`."""

    def __init__(
        self, directory: Path, *, address: str = ADDRESS, durable: bool = False, **settings: str
    ) -> None:
        """`durable` has it wait for its disk; `settings` are of postgresql.conf.

        Only this machine reaches it unless `address` is one that others do, who then all may try.
        """
        self.directory = directory
        self.address = address
        self.host = HOST if address == ADDRESS else address
        self.port = free_port(address)
        self._bin = binaries()
        self._data = directory / "data"
        self._settings = {
            "listen_addresses": f"'{address}'",
            "port": str(self.port),
            "unix_socket_directories": f"'{directory}'",
            "ssl": "on",
            "ssl_cert_file": f"'{directory}/server.crt'",
            "ssl_key_file": f"'{directory}/server.key'",
            "ssl_ca_file": f"'{directory}/ca.crt'",
            "fsync": "on" if durable else "off",
            "autovacuum_naptime": "'1h'",
            "max_prepared_transactions": "8",
            "logging_collector": "off",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that accepts connections."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def prepare(self) -> None:
        """Make the data directory and a certificate for `host`."""
        authority = Authority(self.directory)
        if self.host == self.address:
            authority.issue("server", self.host, addresses=[self.host])
        else:
            authority.issue("server", self.host, names=[self.host])
        authority.issue("client", "taskpass_cert")
        self._own()
        command = [str(self._bin / "initdb"), "-D", str(self._data), "-U", "postgres"]
        subprocess.run(
            [*command, "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.directory,
            user=USER, group=USER, extra_groups=GROUPS,
        )  # fmt: skip
        lines = [f"{name} = {value}\n" for name, value in self._settings.items()]
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(lines)
        others = f"{ADDRESS}/32" if self.address == ADDRESS else "all"
        (self._data / "pg_hba.conf").write_text(
            "local all all trust\n"
            "local replication all trust\n"
            f"hostssl all taskpass_cert {others} cert\n"
            f"hostssl all all {others} scram-sha-256\n"
        )

    def follow(self, primary: "PostgresServer") -> None:
        """Make the data directory a copy of another server's that follows it, read-only."""
        self._own()
        subprocess.run(
            [str(self._bin / "pg_basebackup"), "-D", str(self._data), "-R", "-U", "postgres",
             "-h", str(primary.directory), "-p", str(primary.port), "--checkpoint=fast"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.directory,
            user=USER, group=USER, extra_groups=GROUPS,
        )  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"port = {self.port}\nunix_socket_directories = '{self.directory}'\n")

    def start(self) -> None:
        """Return once it accepts connections."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self._data)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                user=USER, group=USER, extra_groups=GROUPS, preexec_fn=_end_with_parent,
                start_new_session=True,  # Ctrl-C is for this process, which ends it when it may
            )  # fmt: skip
        for _ in range(600):
            with contextlib.suppress(psycopg.OperationalError):
                self.admin().close()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
                break
        raise RuntimeError(f"the server does not start:\n{self.log()[-2000:]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, and return once none of its processes is left.

        SIGINT cuts sessions; SIGKILL is a crash, after which the others end by themselves.
        """
        if self._process is None:
            return
        processes = self.processes()
        self._process.send_signal(how)
        self.thaw()
        self._process.wait(30)
        self._process = None
        while any(Path(f"/proc/{each}").exists() for each in processes):
            time.sleep(0.01)

    def processes(self) -> list[int]:
        """Return the server's processes, the first one last: for SIGSTOP."""
        children: list[str] = []
        with contextlib.suppress(FileNotFoundError):  # it has ended by itself
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [*(int(child) for child in children), self.pid]

    def freeze(self) -> None:
        """Have it answer nothing while its connections stay."""
        os.kill(self.pid, signal.SIGSTOP)
        for each in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        for each in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)

    @property
    def version(self) -> int:
        """As libpq has it: 150018 is 15.18."""
        with self.admin() as admin:
            return admin.info.server_version

    def log(self) -> str:
        """Return what the server has logged."""
        return (self.directory / "log").read_text(errors="replace")

    def admin(self, database: str = "postgres", user: str = "postgres") -> psycopg.Connection:
        """Return a connection of the superuser, or of anybody: the socket asks for nothing."""
        return psycopg.connect(
            host=str(self.directory), port=self.port, user=user, dbname=database, autocommit=True
        )

    def _own(self) -> None:
        if os.geteuid() == 0:
            for each in (self.directory, *self.directory.iterdir()):
                os.chown(each, NOBODY, NOBODY)


@contextlib.contextmanager
def running(
    *, address: str = ADDRESS, durable: bool = False, **settings: str
) -> Iterator[PostgresServer]:
    """Yield a server that runs; nothing of it is left afterwards."""
    with own_directory() as directory:
        server = PostgresServer(directory, address=address, durable=durable, **settings)
        server.prepare()
        with _started(server):
            yield server


@contextlib.contextmanager
def following(primary: PostgresServer) -> Iterator[PostgresServer]:
    """Yield a standby of a server; nothing of it is left afterwards."""
    with own_directory() as directory:
        server = PostgresServer(directory)
        server.follow(primary)
        with _started(server):
            yield server


@contextlib.contextmanager
def own_directory() -> Iterator[Path]:
    """Yield a directory; what a process that was killed has left goes with the next one."""
    _sweep()
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def _started(server: PostgresServer) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()


def _sweep() -> None:
    """Remove what processes that were killed have left; their servers ended with them."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0)


def free_port(address: str) -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        return int(listener.getsockname()[1])
