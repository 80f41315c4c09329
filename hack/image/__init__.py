"""The operator's image as an OCI archive, where no container engine is: `python -m hack.image`."""

from hack.image.build import build

__all__ = ["build"]
