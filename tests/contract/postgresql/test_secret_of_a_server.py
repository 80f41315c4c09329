"""A server's Secret as the kubelet mounts it, and as it switches to another one."""

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.cluster.pki import Authority
from e2e.postgresql.server import PostgresServer
from e2e.postgresql.stage import OPERATOR, PASSWORD, SERVER, settings
from taskpass.core.errors import ProviderUnavailable
from taskpass.providers.postgresql.provider import PostgresProvider
from tests.contract.postgresql.stage import INSTALLATION, Bench
from tests.contract.provider_suite import SystemClock

pytestmark = pytest.mark.usefixtures("brisk")
SAME_TIME = 1_000_000_000
"""A file system may know no shorter time than that between two switches."""


@dataclass
class Volume:
    """A volume of a Secret, written as the kubelet's atomic writer does.

    Each file is a link into `..data`, which is a link to the directory of one version. A switch is
    one rename of that link; the version before goes afterwards.
    """

    path: Path
    number: int = 0

    def write(self, files: dict[str, bytes]) -> None:
        self.number += 1
        data, version = self.path / "..data", self.path / f"..2026_11_30_{self.number}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
            os.utime(version / name, ns=(SAME_TIME, SAME_TIME))
        before = data.resolve() if data.is_symlink() else None
        switched = self.path / "..data_tmp"
        switched.symlink_to(version.name)
        switched.rename(data)
        for name in files.keys() - {each.name for each in self.path.iterdir()}:
            (self.path / name).symlink_to(f"..data/{name}")
        if before is not None:
            shutil.rmtree(before)


@pytest.fixture
def volume(tmp_path: Path, server: PostgresServer) -> Volume:
    made = Volume(tmp_path / "secret")
    made.path.mkdir()
    ca = (server.directory / "ca.crt").read_bytes()
    made.write({"ca.crt": ca, "password": PASSWORD.encode()})
    return made


@pytest.fixture
async def mounted(
    server: PostgresServer, volume: Volume, tmp_path: Path
) -> AsyncIterator[PostgresProvider]:
    """The provider with the server's files in the volume."""
    files = {"caFile": volume.path / "ca.crt", "passwordFile": volume.path / "password"}
    listed = settings(server, tmp_path, **files)
    made = PostgresProvider({SERVER: listed}, clock=SystemClock(), installation=INSTALLATION)
    yield made
    await made.close()


async def test_a_password_that_the_kubelet_switches_to_is_used_from_the_next_connection_on(
    server: PostgresServer, mounted: PostgresProvider, volume: Volume
) -> None:
    bench = Bench(server, mounted)
    grant, _ = await bench.issued()
    ca = (volume.path / "ca.crt").read_bytes()
    volume.write({"ca.crt": ca, "password": b"rotated\n"})
    with pytest.raises(ProviderUnavailable, match="does not accept the password"):
        await mounted.inventory()  # a connection of before would have answered
    try:
        bench.do(f"ALTER ROLE {OPERATOR} PASSWORD 'rotated'")

        await mounted.revoke(grant)
    finally:
        bench.do(f"ALTER ROLE {OPERATOR} PASSWORD '{PASSWORD}'")

    assert bench.left(grant) == {}


async def test_a_ca_that_the_kubelet_switches_to_is_what_the_server_and_the_next_task_are_held_by(
    server: PostgresServer, mounted: PostgresProvider, volume: Volume, tmp_path: Path
) -> None:
    bench = Bench(server, mounted)
    grant, _ = await bench.issued()
    ca, password = (volume.path / "ca.crt").read_bytes(), PASSWORD.encode()
    Authority(tmp_path)
    another = (tmp_path / "ca.crt").read_bytes()
    assert another != ca

    volume.write({"ca.crt": another, "password": password})
    with pytest.raises(ProviderUnavailable, match="CA file does not vouch for"):
        await mounted.inventory()
    volume.write({"ca.crt": ca + another, "password": password})
    _, issued = await bench.issued()

    assert issued.fields["sslrootcert"].reveal() == ca + another
    await mounted.revoke(grant)
    assert bench.left(grant) == {}
