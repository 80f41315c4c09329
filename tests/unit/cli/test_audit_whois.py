"""`taskpass audit whois-token`: of all who had a token, and of a part of the log never a no."""

import asyncio
import base64
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.audit import events as entries
from taskpass.core.model.grant import Grant, GrantState, SecretValue
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.signing import SeedSigner, fingerprint_key
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, SEED, another, notice

TOKEN = b"canary-static-password-of-a-provider"
NEXT = bytes([8]) * 32
SIZE = 600


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ledger: of one token the grants 1, 2 and 3, of which 2 alone is still held."""
    path = tmp_path_factory.mktemp("whois") / "ledger.db"
    asyncio.run(_written(path))
    return path


async def _written(path: Path) -> None:
    ledger = objects.opened(path)
    issued = [await _issued(ledger, another(number), SEED) for number in (1, 2, 3)]
    for grant in (issued[0], issued[2]):
        await objects.revoke(ledger, grant)
    await objects.filled(ledger, SIZE)
    ledger.close()


async def _issued(ledger: SqliteLedger, grant: Grant, seed: bytes) -> Grant:
    await ledger.commit(Batch(entries=(entries.issue_intent(grant, NOW),), grants=(grant,)))
    after = replace(
        grant, state=GrantState.ISSUED, issued_at=NOW, expires_at=NOW + timedelta(seconds=900),
        fingerprint=SecretValue(TOKEN).fingerprint(fingerprint_key(seed)), credential_ref="jti",
    )  # fmt: skip
    result = entries.issue_result(after, NOW, notice())
    await ledger.commit(Batch(entries=(result,), grants=(after,)))
    return next(each for each in ledger.held() if each.id == grant.id)


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path))


def whois(
    *where: object, token: bytes = TOKEN, seeds: Sequence[bytes] = (SEED,), place: Path
) -> Result:
    files = []
    for number, seed in enumerate(seeds):
        file = place / f"seed-{number}"
        file.touch(mode=0o600)
        file.write_bytes(base64.b64encode(seed))
        files += ["--key-file", str(file)]
    return CliRunner().invoke(audit, ["whois-token", *files, *map(str, where)], input=token)


def test_of_several_who_had_a_token_all_are_told_and_who_holds_it_first(path: Path) -> None:
    done = whois("--db", path, place=path.parent)
    told = whois("--db", path, "--json", place=path.parent)

    said = done.stdout.splitlines()
    assert (done.exit_code, len(said)) == (0, 3)
    assert f"not known to be revoked (grant {another(2).id}" in said[0]
    assert [line.partition(", revoked 2026")[2] != "" for line in said] == [False, True, True]
    owners = [json.loads(line) for line in told.stdout.splitlines()]
    assert [each["grant"] for each in owners] == [another(n).id for n in (2, 1, 3)]


def test_a_part_that_does_not_know_a_token_is_no_no(path: Path) -> None:
    export(path, path.parent / "part", wanted=(256, 512))

    done = whois("--dir", path.parent / "part", place=path.parent)

    assert (done.exit_code, done.stdout) == (3, "")
    assert "The entries 256..511, which alone are here, tell of no credential" in done.stderr
    assert "name a ledger or an export of the whole log" in done.stderr


def test_what_a_part_knows_of_a_token_is_told_and_is_not_the_whole_answer(path: Path) -> None:
    export(path, path.parent / "part", wanted=(0, 256))

    done = whois("--dir", path.parent / "part", place=path.parent)

    assert (done.exit_code, len(done.stdout.splitlines())) == (3, 3)
    assert "Only the entries 0..255 are here" in done.stderr


async def test_a_pruned_log_that_does_not_know_a_token_says_of_which_entries(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.end(ledger, next(iter(ledger.held())))
    ledger.close()
    assert whois("--db", path, place=path.parent).exit_code == 0
    prune(path, Limit(before=512), path.parent / "archive", SeedSigner(SEED), NOW)

    done = whois("--db", path, token=b"canary-another", place=path.parent)

    assert (done.exit_code, done.stdout) == (3, "")
    assert "The entries 512..604, which alone are here, tell of no credential" in done.stderr
    assert "look in the archive that was written then" in done.stderr
    archive = whois("--dir", path.parent / "archive", place=path.parent)
    assert archive.stdout.count("revoked 2026") == 2


def test_a_whole_log_that_does_not_know_a_token_is_a_no(path: Path) -> None:
    done = whois("--db", path, token=b"canary-another", place=path.parent)

    assert done.exit_code == 1
    assert "No credential of this log has that fingerprint" in done.stderr


async def test_without_the_seed_of_every_key_nobody_is_no_answer(path: Path) -> None:
    ledger = objects.opened(path, seed=NEXT, previous=SeedSigner(SEED))
    ledger.close()

    one = whois("--db", path, seeds=[NEXT], place=path.parent)
    both = whois("--db", path, seeds=[NEXT, SEED], place=path.parent)
    none = whois("--db", path, seeds=[NEXT, SEED], token=b"canary-another", place=path.parent)

    assert (one.exit_code, one.stdout) == (3, "")
    assert "is told by its own seed alone" in one.stderr
    assert (both.exit_code, len(both.stdout.splitlines())) == (0, 3)
    assert "is told by its own seed alone" not in both.stderr
    assert none.exit_code == 1


def test_a_seed_that_never_signed_the_log_is_refused(path: Path) -> None:
    done = whois("--db", path, seeds=[bytes([9]) * 32], place=path.parent)

    assert (done.exit_code, done.stdout) == (2, "")
    assert "The log was never signed with the key audit.taskpass.dev/" in done.stderr
