"""OCI image archives without an engine: layers in, one tar file out (OCI image-spec v1.1)."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LAYER = "application/vnd.oci.image.layer.v1.tar"


def write(archive: Path, name: str, layers: Sequence[Path], config: Mapping[str, object]) -> None:
    """Write the image `name` (with a tag) of uncompressed layers, lowest first.

    `config` is the `config` of the image-spec: Entrypoint, Env, User … The file appears whole.
    """
    digests = [_digest(layer) for layer in layers]
    image = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": digests},
    }
    described = _described(image, "application/vnd.oci.image.config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described,
        "layers": [
            {"mediaType": LAYER, "digest": digest, "size": layer.stat().st_size}
            for layer, digest in zip(layers, digests, strict=True)
        ],
    }
    entry = _described(manifest, "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    unfinished = archive.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        for blob in (image, manifest):
            _add(tar, _path(_described(blob, "")["digest"]), _json(blob))
        for digest, layer in dict(zip(digests, layers, strict=True)).items():
            tar.add(layer, arcname=_path(digest))
    unfinished.rename(archive)


def _described(value: object, media_type: str) -> dict[str, object]:
    data = _json(value)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _path(digest: object) -> str:
    return f"blobs/{str(digest).replace(':', '/')}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
