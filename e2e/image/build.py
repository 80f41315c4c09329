"""Builds the image in three layers: system, dependencies, code. The first two are kept per machine.

Needs root and debootstrap. Each layer lies in the cache under the digest of what it is made of.
"""

import hashlib
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from e2e.cluster import ClusterFailed, oci, packages, places
from e2e.cluster.say import step
from e2e.cluster.versions import IMAGE_PACKAGES
from e2e.image import contents

ROOT = Path(__file__).resolve().parents[2]
BUILDER = "1"
"""Raised when this file makes something else of the same contents."""
PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


def build() -> Path:
    """Return the archive, built now if anything in it changed."""
    code = _digest(*(path.read_bytes() + bytes(path) for path in _sources()))
    lock = (ROOT / contents.LOCK).read_bytes()
    base = _digest(BUILDER.encode(), contents.SUITE.encode(), *map(str.encode, contents.PACKAGES))
    wheels = _digest(BUILDER.encode(), base.encode(), lock)
    whole = _digest(wheels.encode(), code.encode(), repr(vars(contents)["ENVIRONMENT"]).encode())
    archive = places.cache() / "images" / f"taskpass-{whole}.tar"
    with places.locked(places.cache() / "locks" / "image.lock"):
        if archive.exists():
            return archive
        system = _kept(f"image-system-{base}", _system)
        libraries = _kept(f"image-libraries-{wheels}", lambda made: _libraries(made, system))
        archive.parent.mkdir(parents=True, exist_ok=True)
        for old in archive.parent.glob("taskpass-*"):
            old.unlink()
        with step(f"building {contents.NAME}"):
            layer = archive.with_suffix(".code.tar")
            _code(layer)
            layers = [system / "layer.tar", libraries / "layer.tar", layer]
            oci.write(archive, contents.NAME, layers, _config())
            layer.unlink()
    return archive


def _config() -> dict[str, object]:
    return {
        "Entrypoint": list(contents.ENTRYPOINT),
        "Env": [f"{name}={value}" for name, value in contents.ENVIRONMENT.items()],
        "User": contents.USER,
        "WorkingDir": "/",
    }


def _system(target: Path) -> None:
    packages.need(IMAGE_PACKAGES)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(contents.PACKAGES)}"]
    with step("image: a Debian system by debootstrap, once for this machine", usually="40 s"):
        _run(*command, contents.SUITE, str(target / "root"), *_mirror())
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
            _run("rm", "-rf", str(target / "root" / waste))
        _pack(target / "layer.tar", [(target / "root", ".")])


def _libraries(target: Path, system: Path) -> None:
    machine = ("x86_64", "aarch64")[Path("/lib/ld-linux-aarch64.so.1").exists()]
    options = ["--python-version", contents.PYTHON, "--implementation", "cp", "--no-compile"]
    for tag in PLATFORMS:
        options += ["--platform", f"{tag}_{machine}"]
    files = target / "files"
    with step("image: the locked dependencies, once for each lock", usually="20 s"):
        _run(
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--require-hashes", "--only-binary=:all:", "--no-deps", "--target", str(files)),
            *(*options, "-r", str(ROOT / contents.LOCK)),
        )
        # Compiled by the image's own Python: its file system is read-only when it runs.
        script = (
            'mount --bind "$1" "$2/mnt" && chroot "$2" /usr/bin/python3 -m compileall -q'
            ' --invalidation-mode unchecked-hash -s /mnt -p "$3" /mnt'
        )
        arguments = (str(files), str(system / "root"), contents.LIBRARIES)
        _run("unshare", "--mount", "sh", "-ec", script, "sh", *arguments)
        _pack(target / "layer.tar", [(files, contents.LIBRARIES.lstrip("/"))])


def _code(layer: Path) -> None:
    package = ROOT / "operator" / "taskpass"
    files = [
        (path, f"{contents.CODE.lstrip('/')}/taskpass/{path.relative_to(package)}")
        for path in _sources()
        if path.is_relative_to(package)
    ]
    _pack(layer, [*files, (Path(__file__).parent / "taskpass", contents.SCRIPT)])


def _sources() -> list[Path]:
    package = ROOT / "operator" / "taskpass"
    found = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return sorted([*found, Path(__file__).parent / "taskpass"])


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return a directory of the cache, filled by `make` if it is not there; whole or not at all."""
    target = places.cache() / name
    if not target.exists():
        unfinished = places.cache() / f"{name}.unfinished"
        _run("rm", "-rf", str(unfinished))
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(target)
    return target


def _pack(layer: Path, parts: list[tuple[Path, str]]) -> None:
    """Write a layer whose bytes depend on nothing but what is in it."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if info.ischr() or info.isblk():
            return None
        info.mtime, info.uname, info.gname = 0, "", ""
        return info

    def ours(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = 0
        info.mode = 0o755 if info.isdir() or info.name == contents.SCRIPT else 0o644
        return plain(info)

    with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar:
        for path, name in parts:
            tar.add(path, arcname=name, filter=plain if name == "." else ours)


def _mirror() -> list[str]:
    """Return where this machine's apt gets the suite from, if it says so."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    pairs = [line.split() for line in done.stdout.splitlines()]
    return [pair[0] for pair in pairs if len(pair) == 2 and pair[1] == contents.SUITE][:1]


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise ClusterFailed(f"{' '.join(command[:4])} … failed:\n{done.stdout[-3000:]}")


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
