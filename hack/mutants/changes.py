"""What a mutant has otherwise, said so that it is the same when lines move."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

IN_CLASS = "\u01c1"
"""What mutmut sets between a class and its method."""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """Lines of one function that are others in a mutant; without their indentation."""

    file: str
    """Below the root of the tree."""
    function: str
    """With its class, if it has one: `_Hearing.hear`."""
    removed: tuple[str, ...]
    added: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as the list of explained ones has it."""
        lines = [*(f"- {each}" for each in self.removed), *(f"+ {each}" for each in self.added)]
        return "\n".join([f"{self.file} {self.function}", *lines])


def change_of(mutant: str, diff: str) -> Change:
    """Return what mutmut's name of a mutant and its diff say."""
    file, function = place_of(mutant)
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    return Change(
        file=file,
        function=function,
        removed=tuple(line[1:].strip() for line in lines if line.startswith("-")),
        added=tuple(line[1:].strip() for line in lines if line.startswith("+")),
    )


def place_of(mutant: str) -> tuple[str, str]:
    """Return the file and the function of a mutant: `a.b.x_f__mutmut_1` is `f` of `a/b.py`."""
    module, _, mangled = mutant.rpartition(".")
    name = mangled.rpartition("__mutmut_")[0].removeprefix("x").removeprefix("_")
    return f"operator/{module.replace('.', '/')}.py", name.strip(IN_CLASS).replace(IN_CLASS, ".")


def line_of(change: Change, diff: str, root: Path) -> int:
    """Return the line in the file at which the change begins."""
    tree = ast.parse((root / change.file).read_text())
    start = _start_of(tree, change.function.split("."))
    hunk = re.search(r"^@@ -(\d+)[^\n]*\n(.*)", diff, re.MULTILINE | re.DOTALL)
    if hunk is None:
        return start
    before = 0
    for line in hunk[2].splitlines():
        if not line.startswith(" "):
            break
        before += 1
    return start + int(hunk[1]) - 1 + before


def _start_of(tree: ast.AST, path: list[str]) -> int:
    for name in path:
        tree = next(
            each
            for each in ast.iter_child_nodes(tree)
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and each.name == name
        )
    assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)  # noqa: S101 for mypy
    return tree.lineno
