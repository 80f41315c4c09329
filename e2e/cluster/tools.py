"""Programs built from Go modules, once per machine: Kubernetes, containerd, helm, pause.

Each lies in a directory of the cache that is named by the digest of everything it is made of, so an
old one is never taken for a new one. A directory appears whole (by rename) or not at all.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from e2e.cluster import golang, oci, places
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.say import step
from e2e.cluster.versions import CONTAINERD, HELM, KUBERNETES, PAUSE_IMAGE, TORCHWOOD

HERE = Path(__file__).parent
SMALL = "-s -w"
_VERSION = "k8s.io/component-base/version"
_MAJOR, _MINOR, _ = KUBERNETES.removeprefix("v").split(".")
# Clients cannot parse a version that was not set at link time.
STAMP = (
    f"{SMALL} -X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor={_MAJOR}"
    f" -X {_VERSION}.gitMinor={_MINOR} -X {_VERSION}.gitTreeState=clean"
)


def kubernetes() -> Path:
    """Return the directory of `kubernetes` and, linked to it, `kubectl`."""
    source = HERE / "kubernetes"

    def build(target: Path) -> None:
        _go(["build", "-ldflags", STAMP, "-o", str(target / "kubernetes"), "."], cwd=source)
        (target / "kubectl").symlink_to("kubernetes")

    parts = [(source / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")]
    return _made(
        f"Kubernetes {KUBERNETES}", [*parts, STAMP.encode()], build, "8 minutes on two cores"
    )


def containerd() -> Path:
    """Return the directory of `containerd`, `containerd-shim-runc-v2` and `ctr`."""
    programs = ("containerd", "containerd-shim-runc-v2", "ctr")
    modules = [f"github.com/containerd/containerd/v2/cmd/{p}@{CONTAINERD}" for p in programs]
    return _installed(f"containerd {CONTAINERD}", modules, "2 minutes")


def helm() -> Path:
    """Return the path of helm."""
    modules = [f"helm.sh/helm/v3/cmd/helm@{HELM}"]
    return _installed(f"helm {HELM}", modules, "90 s") / "helm"


def kubectl() -> Path:
    """Return the path of kubectl."""
    return kubernetes() / "kubectl"


def pause() -> Path:
    """Return the archive of the image that holds a pod's namespaces."""
    source = HERE / "pause"

    def build(target: Path) -> None:
        flags = ["-ldflags", SMALL, "-o", str(target / "pause")]
        _go(["build", *flags, "."], cwd=source, env={"CGO_ENABLED": "0"})
        layer = target / "layer.tar"
        with tarfile.open(layer, "w") as tar:
            tar.add(target / "pause", arcname="pause")
        config = {"Entrypoint": ["/pause"], "User": "65532:65532"}
        oci.write(target / "pause.tar", PAUSE_IMAGE, [layer], config)

    parts = [(source / name).read_bytes() for name in ("go.mod", "main.go")]
    return _made("pause", parts, build, "seconds") / "pause.tar"


def tpverify() -> Path:
    """Return the path of the audit log's outside verifier."""
    source = places.ROOT / "hack" / "tpverify"

    def build(target: Path) -> None:
        _go(["build", "-ldflags", SMALL, "-o", str(target / "tpverify"), "."], cwd=source)

    parts = [(source / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")]
    return _made("tpverify", parts, build, "seconds") / "tpverify"


def d2() -> Path:
    """Return the path of what draws the pictures of the docs."""
    source = places.ROOT / "hack" / "d2"

    def build(target: Path) -> None:
        flags = ["-ldflags", SMALL, "-o", str(target / "d2")]
        _go(["build", *flags, "oss.terrastruct.com/d2"], cwd=source)

    parts = [(source / name).read_bytes() for name in ("go.mod", "go.sum")]
    return _made("D2", parts, build, "a minute") / "d2"


def litewitness() -> Path:
    """Return the path of a witness that we did not write."""
    modules = [f"filippo.io/torchwood/cmd/litewitness@{TORCHWOOD}"]
    return _installed(f"litewitness {TORCHWOOD}", modules, "30 s") / "litewitness"


def _installed(name: str, modules: list[str], usually: str) -> Path:
    def build(target: Path) -> None:
        _go(["install", "-ldflags", SMALL, *modules], cwd=target, env={"GOBIN": str(target)})

    return _made(name, ["\n".join(modules).encode(), SMALL.encode()], build, usually)


def _made(name: str, parts: list[bytes], build: Callable[[Path], None], usually: str) -> Path:
    """Return the directory that `build` filled, now or at an earlier time."""
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    target = places.cache() / f"{name.split()[0].lower()}-{digest}"
    if target.exists():
        return target
    with places.locked(target.with_suffix(".lock")):
        if target.exists():  # made by another process while this one waited
            return target
        unfinished = target.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        with step(f"building {name}, once for this machine", usually=usually):
            build(unfinished)
        unfinished.rename(target)
    return target


def _go(arguments: list[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Run go; its output is shown only if it fails."""
    settings = {"GOTOOLCHAIN": "local", "GOWORK": "off", **(env or {})}
    done = subprocess.run(
        [str(golang.go()), *arguments],
        cwd=cwd,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterFailed(f"go {arguments[0]} failed:\n{done.stdout[-4000:]}")
