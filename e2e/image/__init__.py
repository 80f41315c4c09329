"""The operator's image as an OCI archive, where no container engine is: `python -m e2e.image`."""

from e2e.image.build import build

__all__ = ["build"]
