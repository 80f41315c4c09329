"""What the pages say that can be run or checked: commands, YAML, links."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("kubectl", "helm", "taskpass", "make")


def pages() -> list[Path]:
    """Return every page for people."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")]
    return sorted([*found, ROOT / "charts/taskpass/README.md", ROOT / "e2e/README.md"])


def commands(page: Path) -> list[str]:
    """Return the commands in a page's indented blocks, in order, without their comments."""
    text = page.read_text().replace("\\\n", " ")
    indented = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    ours = [line for line in indented if line.split()[0] in PROGRAMS]
    return [re.sub(r" +", " ", re.sub(r"\s+#.*$", "", line)) for line in ours]


def fenced(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """Return the targets of links that lead into this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [target for target in targets if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings have where it is shown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}
