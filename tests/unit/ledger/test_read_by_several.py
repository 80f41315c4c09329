"""What several processes read together is what the first of them sees, or it is said."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.cli.audit.stats import pending
from taskpass.core.audit import events as entries
from taskpass.core.model.grant import GrantState
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.key_history import cluster_of
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, archived
from taskpass.ledger.store.sqlite import DOMAIN
from taskpass.ledger.store.transaction import Store
from taskpass.ledger.verify import log, parallel, proven
from taskpass.ledger.verify.bundles import Bundle, Bundles
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, SEED
from tests.unit.ledger.test_taken_away import first_bundle_taken_away

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original")
    asyncio.run(_written(place / "ledger.db"))
    return place


async def _written(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.story(ledger)
    held = await objects.issue(ledger, objects.another(9, task=objects.SECOND))
    owed = replace(held, state=GrantState.REVOKING, revoke_reason="PodEnded", revoking_since=NOW)
    await ledger.commit(Batch(entries=(entries.revoke_intent(owed, NOW),), grants=(owed,)))
    await objects.filled(ledger, 900)
    ledger.close()


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy")) / "ledger.db"


def run(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.fixture
def shared_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], None]], None]:
    """Have a log be read by several, as one of 100,000 entries is, once something has happened."""

    def set_up(happens: Callable[[Path], None]) -> None:
        @contextlib.contextmanager
        def shared(place: Path, own: Bundles) -> Iterator[Iterator[Bundle]]:
            happens(place)  # between the first process's look at the file, and the others'
            with parallel.in_parallel(place, own, large=0) as pieces:
                yield pieces

        monkeypatch.setattr(proven, "in_parallel", shared)
        monkeypatch.setattr(log, "in_parallel", shared)

    return set_up


def other_file_put_in_place(path: Path) -> None:
    """Put one in its place that lacks the first entries: who writes the volume can, without key."""
    edited = Path(shutil.copy(path, path.with_name("edited.db")))
    first_bundle_taken_away(edited)
    edited.replace(path)


def pruned(path: Path) -> None:
    """Prune it, as its operator does beside any reader."""
    with reading(path) as stored:
        cluster = cluster_of(stored)
    store = Store.open(
        path, signer=SeedSigner(SEED), domain=DOMAIN, cluster_id=cluster, instance="taskpass-0",
        now=NOW, fail_point=lambda _: None,
    )  # fmt: skip
    _, drop = archived(path, Limit(before=256), path.with_name("archive"), NOW)
    store.prune(drop)
    store.close()


def test_no_entry_is_left_out_by_another_file_in_the_place_of_the_one_that_is_read(
    path: Path, shared_after: Callable[..., None]
) -> None:
    before = run(audit, "search", "--type", "credential.", "--db", path)
    shared_after(other_file_put_in_place)

    after = run(audit, "search", "--type", "credential.", "--db", path)

    assert "is gone, proven by" in before.stdout
    assert (after.exit_code, after.stdout) == (0, before.stdout), after.output


@pytest.mark.parametrize("what", ["is gone", "is shorter", "is no ledger", "was not pruned"])
def test_whatever_lies_at_the_path_by_then_one_that_has_the_file_open_reads_it_all(
    path: Path, shared_after: Callable[..., None], what: str
) -> None:
    """Each of several opens the path anew; one that cannot must not be begun again for ever."""
    asyncio.run(_taken_back(path))
    other = Path(shutil.copy(path, path.with_name("other.db")))
    if what == "is shorter":
        other.unlink()
        asyncio.run(_shorter(other))
    if what == "is no ledger":
        other.write_text("hello")
    if what == "was not pruned":
        pruned(path)
    before = run(audit, "search", "--type", "credential.", "--db", path)

    def put(place: Path) -> None:
        place.unlink() if what == "is gone" else other.replace(place)

    shared_after(put)
    after = run(audit, "search", "--type", "credential.", "--db", path)

    assert (after.exit_code, after.stdout) == (before.exit_code, before.stdout), after.output


async def _shorter(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.filled(ledger, 300)
    ledger.close()


def test_what_is_owed_is_told_though_another_file_is_put_in_the_place_of_the_one_that_is_read(
    path: Path, shared_after: Callable[..., None]
) -> None:
    assert run(pending, "--db", path).exit_code == 1
    shared_after(other_file_put_in_place)

    after = run(pending, "--db", path)

    assert after.exit_code == 1, after.output


def test_no_entry_of_an_export_is_left_out_that_is_taken_away_while_it_is_read(
    path: Path, shared_after: Callable[..., None]
) -> None:
    place = path.with_name("export")
    export(path, place)
    before = run(audit, "search", "--type", "credential.", "--dir", place)

    def taken_away(directory: Path) -> None:
        (directory / "tile/entries/000").rename(directory / "tile/entries/away")
        (directory / "kept").mkdir()
        shutil.copy(directory.parent / "genesis", directory / "kept/0")

    with reading(path) as stored:
        (path.with_name("genesis")).write_bytes(stored.entry(0))
    shared_after(taken_away)

    after = run(audit, "search", "--type", "credential.", "--dir", place)

    assert "is gone, proven by" in before.stdout
    assert (after.exit_code, after.stdout) == (3, ""), after.output


def test_a_prune_beside_a_reader_leaves_nothing_out_that_it_says_is_there(
    path: Path, shared_after: Callable[..., None]
) -> None:
    """The grant that is owed keeps nothing of it: an ordinary prune of an ordinary log."""
    asyncio.run(_taken_back(path))
    before = run(audit, "search", "--type", "credential.", "--db", path)
    shared_after(pruned)

    after = run(audit, "search", "--type", "credential.", "--db", path)

    assert after.stdout == before.stdout, after.output


def test_a_prune_beside_a_verification_is_no_evidence_of_tampering(
    path: Path, shared_after: Callable[..., None]
) -> None:
    asyncio.run(_taken_back(path))
    shared_after(pruned)

    assert run(audit, "verify", "--db", path).exit_code == 0


async def _taken_back(path: Path) -> None:
    ledger = objects.opened(path)
    for grant in list(ledger.held()):
        await objects.end(ledger, grant)
    ledger.close()
