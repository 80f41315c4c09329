"""The pictures are drawn from the sources beside them, can be shown anywhere, and are shown."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.demo.documents import ROOT, pages
from hack import pictures

SOURCES = pictures.sources()
EACH = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
ON_THE_FRONT_PAGE = {"architecture", "life"}


def test_every_source_has_its_picture_and_every_picture_its_source() -> None:
    drawn = sorted(pictures.FOLDER.rglob("*.svg"))

    assert [source.with_suffix(".svg") for source in SOURCES] == drawn
    assert {source.stem for source in SOURCES} >= ON_THE_FRONT_PAGE


@EACH
def test_a_picture_is_of_its_source_as_it_is_now(source: Path) -> None:
    told = re.findall(r"<!-- .*? -->", source.with_suffix(".svg").read_text())

    assert told == [pictures.mark(source)], "make pictures"


def test_the_digest_is_of_the_source_and_of_what_all_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.d2", "classes.d2", "dark.css"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(pictures, "CLASSES", tmp_path / "classes.d2")
    monkeypatch.setattr(pictures, "DARK", tmp_path / "dark.css")
    seen = {pictures.digest(tmp_path / "a.d2")}

    for name in ("a.d2", "classes.d2", "dark.css"):
        (tmp_path / name).write_text(f"{name} ")
        seen.add(pictures.digest(tmp_path / "a.d2"))

    assert len(seen) == 4


@EACH
def test_a_picture_has_no_script_and_refers_to_nothing_outside(source: Path) -> None:
    text = source.with_suffix(".svg").read_text()
    names = {each.tag.rpartition("}")[2] for each in ET.fromstring(text).iter()}

    assert names <= {
        "svg", "g", "rect", "path", "ellipse", "polygon", "text", "tspan", "title",
        "style", "defs", "mask", "marker",
    }  # fmt: skip
    assert list(outside(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        '<svg><a href="https://example.org"/></svg>',
        '<svg xmlns:x="http://www.w3.org/1999/xlink"><image x:href="a.png"/></svg>',
        "<svg><style>p { background: url(//example.org/a) }</style></svg>",
        "<svg><style>@import 'a.css';</style></svg>",
        '<svg><rect fill="url(a.svg#b)"/></svg>',
        '<svg onload="alert(1)"/>',
    ],
)
def test_what_refers_outside_is_seen(text: str) -> None:
    assert len(list(outside(text))) == 1


def outside(text: str) -> Iterator[str]:
    """Yield what a picture refers to beside itself, and what would run."""
    for each in ET.fromstring(text).iter():
        for name, value in each.attrib.items():
            if name.rpartition("}")[2] in ("href", "src") and not value.startswith("#"):
                yield value
            if name.startswith("on"):
                yield value
            yield from foreign(value)
        yield from foreign(each.text or "")


def foreign(text: str) -> Iterator[str]:
    """Yield what style refers to beside the picture."""
    yield from re.findall(r"@import.*", text)
    for target in re.findall(r"url\(\s*[\"']?(.*?)[\"']?\s*\)", text):
        if not target.startswith(("#", "data:application/font-woff;base64,")):
            yield target


@EACH
def test_every_colour_has_its_partner_on_a_dark_page(source: Path) -> None:
    painted = re.findall(
        r'\b(?:fill|stroke)="#[0-9A-F]{6}"', source.with_suffix(".svg").read_text()
    )

    assert {each for each in painted if f"[{each}]" not in pictures.DARK.read_text()} == set()
    assert painted


@EACH
def test_a_page_shows_it_and_says_in_a_sentence_what_it_shows(source: Path) -> None:
    said = [
        alt
        for page in pages()
        for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text())
        if (page.parent / target).resolve() == source.with_suffix(".svg").resolve()
    ]

    assert said
    for alt in said:
        assert alt.endswith(".")
        assert len(alt.split()) >= 8


def test_the_front_page_shows_the_architecture_and_the_life_of_a_task() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(docs/pictures/(\w+)\.svg\)", (ROOT / "README.md").read_text())

    assert set(shown) == ON_THE_FRONT_PAGE
