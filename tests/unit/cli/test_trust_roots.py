"""Whom to believe: what was named and is empty is not taken for what was not named."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from tests.unit.cli.lives import TASK_NAME, written

READERS = {
    "verify": [], "timeline": [TASK_NAME], "show": ["2"], "search": [], "tail": [], "stats": [],
    "open-ops": [], "who": [], "keys list": [], "prove inclusion": ["2", "--out", "proofs"],
}  # fmt: skip
OTHERS = [
    ["verify", "--db", "{db}", "--policy", "{empty}"],
    ["verify", "--db", "{db}", "--against", "{empty}"],
    ["verify", "--db", "{db}", "--witness", "{empty}"],
    ["verify", "--url", "https://localhost", "--token-file", "{empty}"],
    ["verify", "--url", "https://localhost", "--token-file", "{token}", "--ca-file", "{empty}"],
    ["verify", "--url", "", "--token-file", "{token}"],
    ["verify-proof", "{empty}", "--entry", "{empty}", "--vkey", "{empty}"],
    ["prove", "consistency", "{empty}", "--db", "{db}"],
    ["whois-token", "--db", "{db}", "--key-file", "{empty}"],
    ["witness", "once", "--db", "{db}", "--name", "w", "--key-file", "new.seed", "--state", "s",
     "--log", "{empty}"],
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("audit")
    asyncio.run(written(place / "ledger.db"))
    (place / "empty").touch(mode=0o600)
    (place / "blank").write_text(" \n")
    (place / "token").write_text("token")
    return place


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(each) for each in arguments], input=b"token")


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("kind", ["an empty file", "a blank file", "an empty text", "a blank"])
def test_a_key_that_was_named_and_is_empty_is_not_taken_for_none(
    place: Path, command: str, kind: str
) -> None:
    """As of a download that failed, or of a variable that is not set: the log's own word counts."""
    given = {"an empty file": place / "empty", "a blank file": place / "blank", "a blank": " "}
    words = [*command.split(), *READERS[command], "--db", place / "ledger.db"]

    done = run(*words, "--vkey", given.get(kind, ""))

    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("Error: A key was named, and is empty; name one, or leave ")


@pytest.mark.parametrize("words", OTHERS, ids=lambda words: " ".join(words)[:60])
def test_nor_is_anything_else_that_says_whom_to_believe(place: Path, words: list[str]) -> None:
    names = {"{db}": "ledger.db", "{empty}": "empty", "{token}": "token"}

    done = run(*(place / names[word] if word in names else word for word in words))

    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.count("\n") == 1


def test_a_token_that_no_header_can_carry_is_refused_and_not_repeated(place: Path) -> None:
    """What refuses it otherwise would print it."""
    (place / "two").write_text("canary-1\r\nX-Other: 1")

    done = run("verify", "--url", "https://localhost", "--token-file", place / "two")

    assert done.exit_code == 2
    assert "canary" not in done.output


OWN = "as a file of this very export says; name the key that you were given otherwise"


def test_what_lies_with_the_log_is_its_own_word_though_the_reader_names_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`VERIFY.md` has such a line, for a policy that is one to begin with."""
    assert run("export", place / "export", "--db", place / "ledger.db").exit_code == 0
    monkeypatch.chdir(place / "export")
    key = Path("vkey").read_text().strip()
    Path("../vkey").write_text(key)

    for own in (["--vkey", "vkey"], ["--policy", "policy"], ["--vkey", "../export/vkey"]):
        assert OWN in run("verify", "--dir", ".", *own).stdout
        told = json.loads(run("verify", "--dir", ".", *own, "--json").stdout)
        assert told["pinned"] is False
    for known in (["--vkey", key], ["--vkey", "../vkey", "--policy", "policy"]):
        assert OWN not in run("verify", "--dir", ".", *known).stdout
        told = json.loads(run("verify", "--dir", ".", *known, "--json").stdout)
        assert told["pinned"] is True
    word = "That key is by the log's own word"
    assert word in run("search", "--dir", ".", "--vkey", "vkey").stderr
    assert word not in run("search", "--dir", ".", "--vkey", "../vkey").stderr
