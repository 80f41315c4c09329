"""The example of the room's README is run, and the room stands by itself."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taskpass import tlog
from taskpass.tlog.merkle import BadProof

ROOM = Path(tlog.__file__).parent
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", (ROOM / "README.md").read_text(), re.DOTALL)


def test_the_example_proves_what_it_says() -> None:
    exec(EXAMPLE, {})


def test_the_example_would_notice_another_leaf() -> None:
    with pytest.raises(BadProof):
        exec(EXAMPLE.replace("1000, leaves[7],", "1000, leaves[8],"), {})


def test_it_can_be_copied_out_and_used_by_itself(tmp_path: Path) -> None:
    (tmp_path / "taskpass").mkdir()
    shutil.copytree(ROOM, tmp_path / "taskpass/tlog")
    modules = sorted(path.stem for path in ROOM.glob("*.py") if path.stem != "__init__")
    imports = "; ".join(f"import taskpass.tlog.{name}" for name in modules)

    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path = [*sys.path, '{tmp_path}']; {imports}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "merkle" in modules
