"""Start PgBouncer before a server, and take it away again. Debian's package is only unpacked.

Tasks' roles come and go, so it asks the server for their verifiers (`auth_query`), as it does
wherever users are not a fixed list.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from e2e.cluster.places import cache, locked
from e2e.postgresql.server import (
    ADDRESS,
    GROUPS,
    HOST,
    NOBODY,
    USER,
    PostgresServer,
    free_port,
    own_directory,
)

PACKAGES = ("pgbouncer", "libc-ares2", "libevent-2.1-7")
LOOKUP = (
    "CREATE ROLE pooler LOGIN PASSWORD 'of the pooler'",
    "GRANT CONNECT ON DATABASE support TO pooler",
    "CREATE SCHEMA pooler AUTHORIZATION pooler",
    "CREATE FUNCTION pooler.verifier(wanted text) RETURNS TABLE (usename text, passwd text) "
    "LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS "
    "$$SELECT usename::text, passwd FROM pg_shadow WHERE usename = wanted$$",
    "REVOKE ALL ON FUNCTION pooler.verifier FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION pooler.verifier TO pooler",
)
"""What its documentation has an administrator make."""
PROGRAM = "usr/sbin/pgbouncer"
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class PgBouncer:
    """One that runs."""

    port: int
    directory: Path

    def admin(self, command: str) -> list[tuple[object, ...]]:
        """Return what its console answers."""
        with psycopg.connect(
            host=str(self.directory), port=self.port, user="pooler", dbname="pgbouncer",
            autocommit=True, password="of the pooler",
        ) as console:  # fmt: skip
            return console.execute(command.encode()).fetchall()


@contextlib.contextmanager
def pooling(server: PostgresServer, mode: str) -> Iterator[PgBouncer]:
    """Yield one that pools connections to the server's database of tickets."""
    with own_directory() as directory, _started(server, mode, directory) as made:
        yield made


@contextlib.contextmanager
def _started(server: PostgresServer, mode: str, directory: Path) -> Iterator[PgBouncer]:
    made = PgBouncer(free_port(ADDRESS), directory)
    for name in ("server.crt", "server.key", "ca.crt"):
        shutil.copy(server.directory / name, directory / name)
    (directory / "users").write_text('"pooler" "of the pooler"\n')
    (directory / "ini").write_text(
        f"[databases]\nsupport = host={HOST} port={server.port} auth_user=pooler\n"
        f"[pgbouncer]\nlisten_addr = {ADDRESS}\nlisten_port = {made.port}\n"
        f"unix_socket_dir = {directory}\nauth_type = scram-sha-256\n"
        f"auth_file = {directory}/users\n"
        "auth_query = SELECT usename, passwd FROM pooler.verifier($1)\n"
        f"pool_mode = {mode}\nadmin_users = pooler\nquery_wait_timeout = 2\n"
        f"client_tls_sslmode = require\nclient_tls_cert_file = {directory}/server.crt\n"
        f"client_tls_key_file = {directory}/server.key\n"
        f"server_tls_sslmode = verify-full\nserver_tls_ca_file = {directory}/ca.crt\n"
    )
    root = directory / "programs"  # whoever runs them is not root, and must get there
    shutil.copytree(programs(), root)
    if USER is not None:
        for each in (directory, *directory.iterdir()):
            os.chown(each, NOBODY, NOBODY)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(root / PROGRAM), str(directory / "ini")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory,
            env={"LD_LIBRARY_PATH": str(libraries)}, user=USER, group=USER, extra_groups=GROUPS,
            preexec_fn=_end_with_parent, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(made, process)
        yield made
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def programs() -> Path:
    """Return where Debian's packages are unpacked; they are fetched once."""
    root = cache() / "pgbouncer"
    with locked(cache() / "pgbouncer.lock"), tempfile.TemporaryDirectory() as directory:
        if not (root / PROGRAM).exists():
            download = ["apt-get", "download", "-qq", *PACKAGES]
            if _apt(download, directory):  # nobody has asked yet what there is
                _apt(["apt-get", "update", "-qq"], directory)
                _apt(download, directory)
            for package in Path(directory).glob("*.deb"):
                subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
    if not (root / PROGRAM).exists():
        raise RuntimeError(f"no {PACKAGES[0]} could be had: {' '.join(download)} failed")
    return root


def _apt(command: list[str], directory: str) -> int:
    done = subprocess.run(command, cwd=directory, stderr=subprocess.DEVNULL, check=False)
    return done.returncode


def _wait(made: PgBouncer, process: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        with contextlib.suppress(psycopg.OperationalError):
            made.admin("SHOW VERSION")
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"PgBouncer does not start:\n{(made.directory / 'log').read_text()}")


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
