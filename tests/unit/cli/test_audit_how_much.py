"""What is said of how much of a log was there, was looked through and is shown."""

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, SEED

LATER = NOW + timedelta(days=40)
NEXT = SeedSigner(bytes([8]) * 32)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("how-much")
    asyncio.run(_written(place / "ledger.db"))
    return place


async def _written(path: Path) -> None:
    """Write some 600 entries of one day and 36 of as many others, under two keys."""
    ledger = objects.opened(path)
    await objects.story(ledger)
    await objects.filled(ledger, 300)
    ledger.close()
    ledger = objects.opened(path, seed=bytes([8]) * 32, previous=SeedSigner(SEED))
    await objects.filled(ledger, 600)
    for day in range(1, 37):
        told = objects.entry(f"day-{day}", time=NOW + timedelta(days=day))
        await ledger.commit(Batch(entries=(told,)))
    ledger.close()


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(each) for each in arguments])


@pytest.mark.parametrize("asked", [("tail", "-n"), ("search", "--limit")])
def test_the_last_lines_alone_are_not_said_to_be_all_that_answers(
    place: Path, asked: tuple[str, str]
) -> None:
    some = run(*asked, "1", "--db", place / "ledger.db")
    every = run(*asked, "900", "--db", place / "ledger.db")

    assert "none that answers is left out" not in some.stderr
    assert "of what answers, only the last 1 are shown" in some.stderr
    assert "none that answers is left out" in every.stderr


@pytest.mark.parametrize("asked", [("tail", "-n"), ("search", "--limit")])
def test_as_many_lines_as_there_are_answers_are_not_said_to_be_the_last_of_more(
    place: Path, asked: tuple[str, str]
) -> None:
    question = ("--type", "log.genesis", "--db", place / "ledger.db")
    one = run(*asked, "1", *question)

    assert one.stdout.count("\n") == 1
    assert "none that answers is left out" in one.stderr
    assert "the last" not in one.stderr


def test_no_lines_at_all_may_be_asked_for(place: Path) -> None:
    none = run("tail", "-n", "0", "--db", place / "ledger.db")

    assert (none.exit_code, none.stdout) == (0, "")
    assert "of what answers, only the last 0 are shown" in none.stderr


def test_the_times_that_are_said_of_a_log_are_of_all_its_entries(place: Path) -> None:
    run("export", place / "part", "--db", place / "ledger.db", "--range", "0:256")

    whole, part = (
        run("verify", "--db", place / "ledger.db").stdout.splitlines(),
        run("verify", "--dir", place / "part").stdout.splitlines(),
    )

    first, last = "2026-11-25T10:00:00.000000Z", "2026-12-31T10:00:00.000000Z"
    assert f"size  636 entries, {first} to {last}" in whole
    assert "size  636 entries" in part
    here = f"only the entries 0..255 are here, {first} to {first}"
    assert f"{here}; of the others, hashes are verified" in part


def test_the_times_of_a_pruned_log_are_those_of_the_entries_that_are_left(place: Path) -> None:
    prune(place / "ledger.db", Limit(before=512), place / "archive", NEXT, LATER)

    said = run("verify", "--db", place / "ledger.db").stdout

    assert "size  639 entries\n" in said
    assert "the entries 512..638 are here, 2026-11-25T10:00:00.000000Z to 2027-01-04" in said


def test_what_the_cluster_remembers_is_not_said_to_be_taken_from_the_log(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An anchor that is up to date, which is what it should be, is of this very state."""
    run("export", place / "export", "--db", place / "ledger.db")
    note = place / "export/checkpoint"
    monkeypatch.setattr("taskpass.cli.audit.memory.remembered", lambda _: note.read_text())

    anchored = run("verify", "--db", place / "ledger.db", "--anchor").stdout
    beside = run("verify", "--db", place / "ledger.db", "--against", note).stdout

    assert "level 1: the cluster remembers it" in anchored
    assert "so rollback and fork before 636 are excluded" in anchored
    assert "compared with itself" not in anchored
    assert "compared with itself" in beside


def test_entries_that_were_put_back_out_of_the_archive_are_not_said_to_be_absent(
    place: Path,
) -> None:
    """The format's page: "keep the archive beside the export: together they are the whole log"."""
    before = run("stats", "--db", place / "ledger.db", "--json").stdout
    prune(place / "ledger.db", Limit(before=512), place / "archive", NEXT, LATER)
    export = place / "export"
    run("export", export, "--db", place / "ledger.db")
    for number in ("000", "001"):
        shutil.copy(place / "archive/tile/entries" / number, export / "tile/entries" / number)

    verified, found = run("verify", "--dir", export), run("search", "--dir", export)
    none, counted = run("search", "--cred", "g-x", "--dir", export), run("stats", "--dir", export)

    assert (verified.exit_code, found.exit_code, none.exit_code, counted.exit_code) == (0, 0, 0, 0)
    for said in (verified.stdout, found.stderr, none.stderr, counted.stdout):
        assert "absent by policy" not in said, said
    assert json.loads(before)["by_type"]["log.genesis"] == 1
    assert "1  log.genesis" in counted.stdout


@pytest.mark.parametrize("edited", [False, True])
def test_an_export_and_its_archive_in_one_zip_are_the_whole_log(place: Path, edited: bool) -> None:
    """It has the entries that the keys follow from twice, and both have to say the same."""
    prune(place / "ledger.db", Limit(before=512), place / "archive", NEXT, LATER)
    export = place / "export"
    run("export", export, "--db", place / "ledger.db")
    entries = "tile/entries"
    shutil.copytree(place / "archive" / entries, export / entries, dirs_exist_ok=True)
    if edited:
        (export / "kept/0").write_bytes(b"{}")
    for name in ("export", "archive"):
        shutil.make_archive(str(place / name), "zip", place / name)

    whole, part = (run("verify", "--dir", place / f"{name}.zip") for name in ("export", "archive"))

    assert (whole.exit_code, part.exit_code) == (int(edited), 0), whole.output + part.output


def test_of_an_archive_of_which_a_part_is_put_back_the_rest_is_absent(place: Path) -> None:
    prune(place / "ledger.db", Limit(before=512), place / "archive", NEXT, LATER)
    export = place / "export"
    run("export", export, "--db", place / "ledger.db")
    shutil.copy(place / "archive/tile/entries/001", export / "tile/entries/001")

    said = run("verify", "--dir", export)

    assert "bodies absent by policy 0..255; their hashes are verified" in said.stdout


def test_what_the_keys_follow_from_is_not_counted_as_absent(place: Path) -> None:
    before = json.loads(run("stats", "--db", place / "ledger.db", "--json").stdout)
    prune(place / "ledger.db", Limit(before=512), place / "archive", NEXT, LATER)

    after = json.loads(run("stats", "--db", place / "ledger.db", "--json").stdout)

    assert (before["entries"], before["pruned"]) == (sum(before["by_type"].values()), 0)
    assert after["pruned"] == 510  # genesis and handover are kept
    assert after["entries"] == after["pruned"] + sum(after["by_type"].values())


def test_days_that_are_not_listed_are_said_to_be_left_out(place: Path) -> None:
    counted = run("stats", "--db", place / "ledger.db").stdout.splitlines()

    assert len([line for line in counted if "  on 20" in line]) == 30
    assert counted[-1].strip() == "and on 7 days before"
