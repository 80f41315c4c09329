"""`taskpass audit` for who reads: prove, show, search, tail, stats, open-ops, whois-token."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.cli.audit.stats import pending
from taskpass.core.audit import events as entries
from taskpass.core.model.grant import GrantState, SecretValue, TaskRef
from taskpass.ledger.log.signing import fingerprint_key
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import GRANT, NOW, SEED, notice

TOKEN = b"canary-eyJhbGciOiJSUzI1NiJ9.e30.c2ln"
OTHER = TaskRef(namespace="sales", name="forecast", uid="task-uid-9")
EVIL = "quote/\x1b[2J\r\u202e1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a ledger of two tasks, its export, a kept checkpoint and its seed."""
    place = tmp_path_factory.mktemp("audit")
    asyncio.run(_written(place))
    (place / "seed").touch(mode=0o600)
    (place / "seed").write_bytes(base64.b64encode(SEED))
    assert run(place, "export", str(place / "export")).exit_code == 0
    return place


async def _written(place: Path) -> None:
    ledger = objects.opened(place / "ledger.db")
    issued = replace(
        GRANT, state=GrantState.ISSUED, issued_at=NOW, expires_at=NOW + timedelta(seconds=900),
        fingerprint=SecretValue(TOKEN).fingerprint(fingerprint_key(SEED)), credential_ref="jti-1",
    )  # fmt: skip
    over = replace(issued, state=GrantState.REVOKED, revoke_reason="PodEnded")
    later = NOW + timedelta(hours=1)
    await ledger.commit(Batch(entries=(entries.issue_intent(GRANT, NOW),), grants=(GRANT,)))
    done = entries.issue_result(issued, NOW, notice())
    await ledger.commit(Batch(entries=(done,), grants=(issued,)))
    (place / "kept").write_text(ledger.note())
    back = (entries.revoke_intent(over, later), entries.revoke_result(over, later, None))
    await ledger.commit(Batch(entries=back, grants=(over,)))
    owed = replace(
        objects.another(2, task=OTHER), state=GrantState.REVOKING, resources=(EVIL,),
        revoke_reason="TaskDeleted", revoking_since=later,
    )  # fmt: skip
    half = objects.another(3, task=OTHER)
    begun = (
        entries.issue_intent(owed, later),
        entries.issue_failed(owed, later, "ProviderUnavailable"),
        entries.revoke_intent(owed, later),
        entries.issue_intent(half, later),
    )
    await ledger.commit(Batch(entries=begun, grants=(owed, half)))
    ledger.close()


def run(place: Path, *arguments: str, stdin: bytes = b"") -> Result:
    environment = {"TASKPASS_LEDGER_PATH": str(place / "ledger.db")}
    return CliRunner().invoke(audit, arguments, env=environment, input=stdin)


def test_a_proof_is_checked_with_the_key_alone(place: Path, tmp_path: Path) -> None:
    made = run(place, "prove", "inclusion", "3", "--out", str(tmp_path))
    files = [str(tmp_path / "3.tlog-proof"), "--entry", str(tmp_path / "3.json")]
    shown = run(place, "verify-proof", *files, "--vkey", str(place / "export/vkey"))

    assert made.exit_code == 0, made.output
    assert (shown.exit_code, shown.output) == (
        0, "OK    it is entry 3 of the log, as signed at size 10\n",
    )  # fmt: skip


def test_a_proof_of_another_entry_or_by_another_key_is_evidence(
    place: Path, tmp_path: Path
) -> None:
    run(place, "prove", "inclusion", "3", "--out", str(tmp_path))
    (tmp_path / "4.json").write_text("{}")
    vkey = (place / "export/vkey").read_text().strip()
    other = vkey.rpartition("+")[0]

    wrong = run(
        place, "verify-proof", str(tmp_path / "3.tlog-proof"),
        "--entry", str(tmp_path / "4.json"), "--vkey", vkey,
    )  # fmt: skip
    no_key = run(
        place, "verify-proof", str(tmp_path / "3.tlog-proof"),
        "--entry", str(tmp_path / "3.json"), "--vkey", other + "+AAAA",
    )  # fmt: skip

    assert wrong.exit_code == 1
    assert wrong.stderr == (
        "TAMPER EVIDENCE: the proof does not hold: the leaf is not under the root\n"
    )
    assert no_key.exit_code == 2


@pytest.mark.parametrize(
    ("chosen", "indexes"),
    [
        (["--cred", GRANT.id], [2, 3, 4, 5]),
        (["--task", "sales/forecast"], [6, 7, 8, 9]),
        (["--task", "task-uid-1"], [2, 3, 4, 5]),
    ],
)
def test_all_entries_of_a_grant_or_task_are_proven(
    place: Path, tmp_path: Path, chosen: list[str], indexes: list[int]
) -> None:
    done = run(place, "prove", "inclusion", *chosen, "--out", str(tmp_path), "--json")

    assert [each["index"] for each in json.loads(done.stdout)] == indexes
    assert len(list(tmp_path.glob("*.tlog-proof"))) == len(indexes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inclusion", "--out", "x"], "Name one: an entry, --cred or --task"),
        (["inclusion", "10", "--out", "x"], "The log has no entry 10; its last is 9"),
        (["inclusion", "--cred", "g-0", "--out", "x"], "The log has no such entries"),
        (["inclusion", "x", "--out", "x"], "'x' is neither an entry's index nor its id"),
        (["consistency", "nowhere"], "The checkpoint nowhere cannot be read"),
    ],
)
def test_what_cannot_be_proven_is_said_in_one_line(
    place: Path, arguments: list[str], said: str
) -> None:
    done = run(place, "prove", *arguments)

    assert (done.exit_code, done.stderr) == (2, f"Error: {said}\n")


def test_growth_is_proven_against_what_was_kept(place: Path, tmp_path: Path) -> None:
    good = run(place, "prove", "consistency", str(place / "kept"))
    forged = tmp_path / "forged"
    forged.write_text((place / "kept").read_text().replace("\n4\n", "\n3\n"))
    bad = run(place, "prove", "consistency", str(forged))

    assert good.output.startswith("OK    the log of 10 entries begins with that of 4; the proof:\n")
    assert bad.exit_code == 1


def test_an_entry_is_shown_whole_by_index_and_by_id(place: Path) -> None:
    by_index = run(place, "show", "3", "--json")
    by_id = run(place, "show", json.loads(by_index.stdout)["id"], "--json")
    for_people = run(place, "show", "3")

    assert by_index.output == by_id.output
    assert for_people.stdout.startswith("entry 3, under the checkpoint of size 10\n{\n")


@pytest.mark.parametrize(
    ("asked", "indexes"),
    [
        ([], list(range(10))),
        (["--type", "credential.revoke"], [4, 5, 8]),
        (["--type", "dev.taskpass.credential.revoke"], [4, 5, 8]),
        (["--type", "log."], [0, 1]),
        (["--task", "support/ticket-4711"], [2, 3, 4, 5]),
        (["--cred", GRANT.id, "--outcome", "success"], [3, 5]),
        (["--agent", "triage-agent", "--type", "credential.revoke"], [4, 5, 8]),
        (["--agent", "nobody"], []),
        (["--reason", "PodEnded"], [4, 5]),
        (["--since", "2026-11-25T10:30:00Z"], [4, 5, 6, 7, 8, 9]),
        (["--until", "2026-11-25T10:30:00Z"], [0, 1, 2, 3]),
        (["--since", "2026-11-25T11:30:00+01:00", "--limit", "2"], [8, 9]),
        (["--limit", "3"], [7, 8, 9]),
    ],
)
def test_entries_are_found_by_what_they_say(
    place: Path, asked: list[str], indexes: list[int]
) -> None:
    done = run(place, "search", *asked, "--json")

    assert [json.loads(line)["index"] for line in done.stdout.splitlines()] == indexes


def test_a_time_that_is_none_is_said(place: Path) -> None:
    done = run(place, "search", "--since", "soon")

    assert done.exit_code == 2
    assert "'soon' is not a time; write 2026-11-26" in done.stderr


def test_nothing_that_a_tenant_wrote_moves_the_readers_cursor(place: Path) -> None:
    said = "".join(
        run(place, *c).output for c in (["search"], ["tail"], ["show", "6"], ["open-ops"])
    )

    assert "forecast" in said
    assert [c for c in said if not c.isprintable() and c != "\n"] == []


def test_the_tail_is_the_last_entries(place: Path) -> None:
    done = run(place, "tail", "-n", "2")

    assert [line.split()[0] for line in done.stdout.splitlines()] == ["8", "9"]


def test_what_is_open_is_listed_with_its_reason_and_the_oldest_first(place: Path) -> None:
    done = run(place, "open-ops", "--json")

    assert [(each["state"], each["reason"]) for each in json.loads(done.stdout)] == [
        ("Revoking", "TaskDeleted"), ("Intent", ""),
    ]  # fmt: skip
    assert "Revoking  since 2026-11-25T11:00:00Z  sales/forecast" in run(place, "open-ops").stdout


def test_pending_revocations_are_what_is_open_and_to_be_taken_back(
    place: Path, tmp_path: Path
) -> None:
    database = str(place / "ledger.db")
    owed = CliRunner().invoke(pending, ["--db", database])
    told = CliRunner().invoke(pending, ["--db", database, "--json"])
    objects.opened(tmp_path / "none.db").close()
    none = CliRunner().invoke(pending, ["--db", str(tmp_path / "none.db")])

    assert owed.exit_code == 1
    assert owed.stdout.startswith("Revoking  since 2026-11-25T11:00:00Z  sales/forecast")
    assert [each["reason"] for each in json.loads(told.stdout)] == ["TaskDeleted"]
    assert (none.exit_code, none.stdout) == (0, "Nothing is pending.\n")


def test_what_was_declared_gone_is_not_pending_and_is_said_to_be_proven_by_nobody(
    tmp_path: Path,
) -> None:
    database = str(tmp_path / "ledger.db")
    owed = replace(GRANT, state=GrantState.REVOKING, revoke_reason="PodEnded", revoking_since=NOW)
    over = replace(owed, state=GrantState.DECLARED_GONE)
    begun = (entries.issue_intent(GRANT, NOW), entries.revoke_intent(owed, NOW))

    async def write() -> None:
        ledger = objects.opened(Path(database))
        await ledger.commit(Batch(entries=begun, grants=(owed,)))
        said = entries.declared_gone(over, "INC-4711: disk lost", NOW, None)
        await ledger.commit(Batch(entries=(said,), grants=(over,)))
        ledger.close()

    asyncio.run(write())
    told = CliRunner().invoke(pending, ["--db", database])
    counted = CliRunner().invoke(audit, ["stats", "--db", database, "--json"])
    verified = CliRunner().invoke(audit, ["verify", "--db", database])

    assert told.exit_code == 0
    first, second = told.stdout.splitlines()[:2]
    assert first == "Nothing is pending."
    assert second.startswith("Declared gone by configuration, not proven:  since 2026-11-25T10")
    assert second.endswith(": INC-4711: disk lost")
    assert {k: json.loads(counted.stdout)[k] for k in ("held", "owed", "declared_gone")} == {
        "held": 0, "owed": 0, "declared_gone": 1,
    }  # fmt: skip
    assert verified.exit_code == 0, verified.output


def test_entries_and_what_is_held_are_counted(place: Path) -> None:
    found = json.loads(run(place, "stats", "--json").stdout)

    assert (found["entries"], found["held"], found["owed"]) == (10, 2, 1)
    assert found["by_type"]["credential.issue"] == 5
    assert found["by_day"] == {"2026-11-25": 10}


def test_a_token_that_was_found_is_told_whose_it_is(place: Path) -> None:
    done = run(place, "whois-token", "--key-file", str(place / "seed"), stdin=TOKEN + b"\n")

    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        "'tickets' of task support/ticket-4711, for agent triage-agent: issued "
        "2026-11-25T10:00:00.000000Z, expires 2026-11-25T10:15:00.000000Z, revoked "
        f"2026-11-25T11:00:00.000000Z (grant {GRANT.id}, entry 3)\n"
    )


def test_a_token_that_the_log_does_not_know_is_a_no_and_is_not_repeated(place: Path) -> None:
    done = run(place, "whois-token", "--key-file", str(place / "seed"), stdin=b"canary-other")

    assert done.exit_code == 1
    assert "canary" not in done.output + done.stderr


def test_without_a_token_nothing_is_guessed(place: Path) -> None:
    assert run(place, "whois-token", "--key-file", str(place / "seed")).exit_code == 2


@pytest.mark.parametrize("command", sorted(audit.commands))
def test_each_command_has_help_with_an_example(command: str) -> None:
    found = audit.commands[command]
    shown = CliRunner().invoke(audit, [command, "--help"]).output

    assert "Example: taskpass audit" in shown or getattr(found, "commands", None), shown
