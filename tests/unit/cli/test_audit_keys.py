"""`taskpass audit keys` and `prune`, as a person or a script uses them."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.ledger.verify.log import verify_database
from tests.unit.ledger import objects


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with a ledger of 600 entries and the file of its key."""
    asyncio.run(written(tmp_path / "ledger.db"))
    (tmp_path / "seed").write_bytes(base64.b64encode(objects.SEED))
    (tmp_path / "seed").chmod(0o400)
    return tmp_path


async def written(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.filled(ledger, 600)
    ledger.close()


def run(place: Path, *words: str) -> Result:
    named = [str(place / w[1:]) if w.startswith("@") else w for w in words]
    return CliRunner().invoke(audit, [*named, "--db", str(place / "ledger.db")])


def rotated(place: Path, *more: str) -> Result:
    return run(
        place, "keys", "rotate", "--old-key-file", "@seed", "--new-key-file", "@next",
        "--reason", "yearly", *more,
    )  # fmt: skip


def test_a_stopped_ledger_is_handed_over_to_a_key_that_is_made_for_it(place: Path) -> None:
    result = rotated(place)

    assert result.exit_code == 0, result.output
    assert "from size 601 on" in result.output
    assert (place / "next").stat().st_mode & 0o777 == 0o400
    report = verify_database(place / "ledger.db")
    assert [key.since for key in report.keys] == [0, 601]
    listed = run(place, "keys", "list").stdout.splitlines()
    assert listed[1].split() == [report.keys[0].id, "0", "601", "0", report.keys[0].vkey]
    assert listed[2].split() == [report.keys[1].id, "601", "now", "600", report.keys[1].vkey]


def test_an_export_lists_the_same_keys(place: Path) -> None:
    rotated(place)
    run(place, "export", "@export")
    of_export = CliRunner().invoke(audit, ["keys", "list", "--json", "--dir", f"{place}/export"])

    assert json.loads(of_export.stdout) == json.loads(run(place, "keys", "list", "--json").stdout)


def test_verify_tells_the_keys_and_what_is_absent(place: Path) -> None:
    rotated(place)
    run(
        place, "prune", "--before", "300", "--archive", "@archive", "--key-file", "@next"
    )  # fmt: skip

    told = run(place, "verify").output

    assert "before it, up to size 601: " in told
    assert "bodies absent by policy 0..255" in told
    said = json.loads(run(place, "verify", "--json").output)
    assert (said["pruned"], len(said["keys"])) == (256, 2)
    archive = CliRunner().invoke(audit, ["verify", "--dir", f"{place}/archive"])
    assert "only the entries 0..255 are here" in archive.output


def test_without_key_files_it_says_what_to_do_for_an_operator_that_runs(place: Path) -> None:
    result = run(place, "keys", "rotate")

    assert result.exit_code == 0
    assert "signingKeyGeneration" in result.output
    assert len(verify_database(place / "ledger.db").keys) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--old-key-file", "@seed"], "Both are needed", id="one key"),
        pytest.param(
            ["--old-key-file", "@seed", "--new-key-file", "@next"], "Say why", id="no reason"
        ),
        pytest.param(
            ["--old-key-file", "@seed", "--new-key-file", "@next", "--reason", "a\nb"],
            "Say why",
            id="a reason of two lines",
        ),
        pytest.param(
            ["--old-key-file", "@absent", "--new-key-file", "@next", "--reason", "x"],
            "cannot be read",
            id="no old key",
        ),
        pytest.param(
            ["--old-key-file", "@seed", "--new-key-file", "@seed", "--reason", "x"],
            "has or had that key",
            id="the same key",
        ),
    ],
)
def test_a_rotation_that_cannot_be_is_refused_in_one_line(
    place: Path, words: list[str], said: str
) -> None:
    result = run(place, "keys", "rotate", *words)

    assert result.exit_code == 2
    assert said in result.output
    assert result.output.count("\n") == 1
    assert len(verify_database(place / "ledger.db").keys) == 1


def test_a_dry_run_says_what_would_go_and_writes_nothing(place: Path) -> None:
    before = (place / "ledger.db").read_bytes()

    result = run(place, "prune", "--before", "300", "--dry-run")

    assert result.output.startswith("Would drop entries 0 to 255, 2026-11-25T10:00:00")
    assert (place / "ledger.db").read_bytes() == before


def test_what_is_younger_stays(place: Path) -> None:
    result = run(place, "prune", "--older-than", "36500d", "--dry-run")

    assert (result.exit_code, result.output) == (0, "There is nothing to drop.\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param([], "Name one of", id="nothing asked for"),
        pytest.param(["--before", "1", "--older-than", "1d"], "Name one of", id="both"),
        pytest.param(["--older-than", "400"], "a number of days", id="no unit"),
        pytest.param(["--older-than", "-1d"], "a number of days", id="a negative number"),
        pytest.param(["--before", "300"], "Name --archive, or only look", id="no archive"),
    ],
)
def test_a_pruning_that_is_not_clear_is_refused(place: Path, words: list[str], said: str) -> None:
    result = run(place, "prune", *words)

    assert result.exit_code == 2
    assert said in result.output
    assert verify_database(place / "ledger.db").pruned == 0
