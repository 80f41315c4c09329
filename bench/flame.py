"""Draw where CPU goes: `python -m bench.flame STACKS > flame.svg`.

STACKS has a stack a line, outermost frame first, frames divided by `;`, then a space and how often
it was seen: what `py-spy record --format raw --threads` writes of a running operator. Threads that
wait for work are left out, and in each thread what lies below its loop.
"""

import html
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WIDTH, HEIGHT, TOP = 1200.0, 16, 34
LEAST = 0.003
"""Share of all, below which a frame is not drawn."""
LETTER = 6.3
"""Width of one, about."""
WAITING = ("wait (threading.py)", "_wait_for_tstate_lock", "_worker (concurrent/futures/thread.py)")
LOOPS = ("Runner.run (", "_Life._run (", "SqliteLedger._run (")
OURS, OTHERS = "#9cc3dd", "#e6cf9b"


@dataclass(slots=True)
class Frame:
    """A function under what called it: how often it was on the stack, and what it called."""

    count: int = 0
    calls: dict[str, "Frame"] = field(default_factory=dict)

    def add(self, stack: Iterable[str], count: int) -> None:
        """Count a stack that begins below this frame."""
        self.count += count
        frame = self
        for name in stack:
            frame = frame.calls.setdefault(name, Frame())
            frame.count += count


def tree(lines: Iterable[str]) -> Frame:
    """Return all stacks as one tree, without those that wait."""
    root = Frame()
    for line in lines:
        text, _, count = line.rstrip("\n").rpartition(" ")
        stack = [re.sub(r":\d+\)$", ")", each) for each in text.split(";")]
        if not any(word in stack[-1] for word in WAITING):
            root.add(_from_loop(stack), int(count))
    return root


def _from_loop(stack: Sequence[str]) -> list[str]:
    """Leave out how a thread came to its loop, and the numbers of threads."""
    thread = re.sub(r"^thread \(\d+\):? ?", "", stack[0]) or "thread"
    loop = next((i for i, name in enumerate(stack) if name.startswith(LOOPS)), 0)
    return [thread, *stack[loop + 1 :]]


def svg(root: Frame, title: str) -> str:
    """Return the picture: as wide as a frame's share of all, what it calls below it."""
    boxes = list(_boxes(root, root.count, 0.0, 0))
    depth = 1 + max((level for level, *_ in boxes), default=0)
    height = TOP + depth * HEIGHT + 6
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height}" '
            'font-family="monospace" font-size="10">',
            f'<rect width="{WIDTH:.0f}" height="{height}" fill="#ffffff"/>',
            f'<text x="8" y="21" font-size="14">{html.escape(title)}</text>',
            *(_box(*each) for each in boxes),
            "</svg>",
            "",
        ]
    )


def _boxes(
    frame: Frame, total: int, left: float, level: int
) -> Iterator[tuple[int, float, float, str]]:
    for name, each in sorted(frame.calls.items()):
        share = each.count / total
        if share >= LEAST:
            yield level, left, share, name
            yield from _boxes(each, total, left, level + 1)
        left += share


def _box(level: int, left: float, share: float, name: str) -> str:
    x, y, width = left * WIDTH, TOP + level * HEIGHT, share * WIDTH
    shown = name.split(" (")[0][: max(0, int((width - 4) / LETTER))]
    label = f'<text x="{x + 2:.1f}" y="{y + 11}">{html.escape(shown)}</text>'
    return (
        f'<g><title>{html.escape(name)} {share:.1%}</title><rect x="{x:.1f}" y="{y}" '
        f'width="{width - 0.4:.1f}" height="{HEIGHT - 1}" '
        f'fill="{OURS if "taskpass/" in name else OTHERS}"/>{label if len(shown) > 2 else ""}</g>'
    )


def main(path: str, title: str = "CPU of the operator") -> None:
    """Write the picture of the file's stacks to standard output."""
    with Path(path).open() as lines:
        sys.stdout.write(svg(tree(lines), title))


if __name__ == "__main__":
    main(*sys.argv[1:])
