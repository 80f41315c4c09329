"""Draw the pictures of README and docs: `python -m hack.pictures`.

Each `docs/pictures/NAME.d2` becomes `NAME.svg` beside it, by D2 as `hack/d2/go.mod` pins it. What
is drawn is finished here: it gets the colours for dark pages, and the digest of all that it was
drawn from, by which a test tells that none is stale.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e.cluster import ClusterFailed, places, tools

FOLDER = places.ROOT / "docs" / "pictures"
CLASSES = FOLDER / "style" / "classes.d2"
DARK = FOLDER / "style" / "dark.css"
END = "</svg></svg>"
"""D2 draws one image inside another."""


def sources() -> list[Path]:
    """Return what pictures are drawn from, one each."""
    return sorted(FOLDER.glob("*.d2"))


def digest(source: Path) -> str:
    """Return the SHA-256 of a source and of what all of them share."""
    parts = (path.read_bytes() for path in (source, CLASSES, DARK))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def mark(source: Path) -> str:
    """Return the comment by which a picture says what it was drawn from."""
    return f"<!-- Drawn from {source.name} by make pictures: sha256 {digest(source)} -->"


def draw(program: Path, source: Path) -> bytes:
    """Return the picture."""
    with tempfile.TemporaryDirectory() as directory:
        drawn = Path(directory) / "drawn.svg"
        command = [str(program), "--omit-version", str(source), str(drawn)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterFailed(f"d2 could not draw {source.name}:\n{done.stderr}")
        text = drawn.read_text()
    inner, end, rest = text.rpartition(END)
    if not end or rest.strip():
        raise ClusterFailed(f"d2 drew {source.name} in a form that is not known here")
    return f"{inner}<style>\n{DARK.read_text()}</style>{mark(source)}{END}\n".encode()


def main() -> None:
    """Draw all; what is the same stays untouched."""
    program = tools.d2()
    for source in sources():
        picture = source.with_suffix(".svg")
        drawn = draw(program, source)
        changed = not picture.exists() or picture.read_bytes() != drawn
        if changed:
            picture.write_bytes(drawn)
        print(f"{picture.relative_to(places.ROOT)}: {'drawn' if changed else 'as it was'}")


if __name__ == "__main__":
    try:
        main()
    except ClusterFailed as error:
        sys.exit(str(error))
