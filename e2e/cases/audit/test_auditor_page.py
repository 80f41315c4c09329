"""docs/auditor.md, as an auditor would type it, from the first line to the last."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster import places, tools
from taskpass.ports import Batch
from tests.unit.ledger import objects

PAGE = places.ROOT / "docs/auditor.md"
PROOF = places.ROOT / "docs/check-proof.sh"


def lines() -> list[str]:
    return re.findall(r"^ {4}(\S.*)$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with what the auditor was given, and what a cheat would put there."""
    desk = tmp_path_factory.mktemp("auditor")
    asyncio.run(_given(desk))
    programs = desk / "bin"
    programs.mkdir()
    (programs / "tpverify").symlink_to(tools.tpverify())
    (programs / "taskpass").symlink_to(Path(sys.executable).with_name("taskpass"))
    shutil.copyfile(PROOF, desk / "check-proof.sh")
    return desk


async def _given(desk: Path) -> None:
    ledger = objects.opened(desk / "ledger.db")
    await objects.story(ledger)
    await objects.filled(ledger, 280)
    ledger.close()
    for copy in ("older.db", "fork.db"):
        shutil.copyfile(desk / "ledger.db", desk / copy)
    ledger = objects.opened(desk / "ledger.db")
    await objects.filled(ledger, 300)
    (desk / "kept.checkpoint").write_text(ledger.note())
    await objects.filled(ledger, 345)
    ledger.close()
    fork = objects.opened(desk / "fork.db")
    await fork.commit(Batch(entries=(objects.entry("another history"),)))
    await objects.filled(fork, 345)
    fork.close()


@pytest.fixture(scope="module")
def typed(desk: Path) -> dict[str, tuple[int, str]]:
    """Return the exit code and the words of each line, in the page's order."""
    path = f"{desk / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(places.ROOT / "operator")}
    export = [sys.executable, "-m", "taskpass", "audit", "export", "given", "--db", "ledger.db"]
    subprocess.run(export, cwd=desk, env=environment, check=True, capture_output=True)
    shutil.copyfile(desk / "given/vkey", desk / "vkey")
    said = {}
    for line in lines():
        done = subprocess.run(
            ["bash", "-c", line], cwd=desk, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        said[line] = (done.returncode, done.stdout + done.stderr)
    return said


@pytest.mark.parametrize("line", lines())
def test_each_line_of_the_page_does_what_it_says(
    typed: dict[str, tuple[int, str]], line: str
) -> None:
    code, said = typed[line]

    assert code == 0, said


def test_what_the_lines_say_is_what_the_page_says(typed: dict[str, tuple[int, str]]) -> None:
    told = {line: said for line, (_, said) in typed.items()}

    [proven] = [said for line, said in told.items() if line.startswith("sh check-proof.sh")]
    assert proven == "Signature Verified Successfully\nOK entry 3 of 345\n"
    older = [said for line, said in told.items() if "older.db" in line]
    forked = [said for line, said in told.items() if "fork.db" in line]
    assert "rollback and fork NOT excluded" in older[0]
    assert all("ROLLBACK" in said for said in older[1:])
    assert "rollback and fork NOT excluded" in forked[0]
    assert all("FORK" in said for said in forked[1:])
    assert len(older) == len(forked) == 3


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("3.json", b"pending", b"success"), id="another entry"),
        pytest.param(("3.json", b'"v":1', b'"v":2'), id="one digit"),
        pytest.param(("3.tlog-proof", b"index 3", b"index 2"), id="another index"),
        pytest.param(("3.tlog-proof", b"\n345\n", b"\n344\n"), id="another size"),
    ],
)
def test_openssl_alone_refuses_a_proof_that_was_changed(
    desk: Path, typed: dict[str, tuple[int, str]], tmp_path: Path, change: tuple[str, bytes, bytes]
) -> None:
    copy = Path(shutil.copytree(desk / "proofs", tmp_path / "proofs"))
    name, old, new = change
    before = (copy / name).read_bytes()
    (copy / name).write_bytes(before.replace(old, new, 1))
    command = ["sh", str(PROOF), "3.tlog-proof", "3.json", str(desk / "vkey")]

    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)

    assert before != (copy / name).read_bytes()
    assert done.returncode != 0
    assert "OK" not in done.stdout
