"""The log speaks of people by references, and can forget them without ceasing to verify."""

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.audit import events as entries
from taskpass.core.errors import UsageError
from taskpass.core.lifecycle.approval import ApprovalRequest, asked_text
from taskpass.core.lifecycle.ownership import FORGOTTEN, Origin, mentions
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.model.notice import Notice
from taskpass.ledger.log.reader import Incomplete, reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.erase import erase
from taskpass.ledger.maintain.requests import answer_all, ask, place_of
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.log import verify_database
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import GRANT, NOW, another

JANE, BOT = "jane@example.org", "system:serviceaccount:gitops:deployer"
PEOPLE = {"requester": JANE, "changed_by": BOT, "sponsor": "support-platform"}


def asked(number: int = 1, people: Mapping[str, str] = PEOPLE) -> Batch:
    grant = another(number)
    return Batch(entries=(entries.issue_intent(grant, NOW, people),), grants=(grant,))


def body(path: Path, index: int) -> bytes:
    with reading(path) as log:
        return log.entry(index)


def by(path: Path, index: int) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(body(path, index))["data"]["by"]
    return found


def traces(path: Path, name: str) -> list[str]:
    """Return the files in which a name can be found."""
    return [
        p.name for p in path.parent.iterdir() if p.is_file() and name.encode() in p.read_bytes()
    ]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(audit, arguments)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def written(path: Path, *batches: Batch) -> list[int]:
    ledger = objects.opened(path)
    indexes = [(await ledger.commit(batch))[0] for batch in batches]
    ledger.close()
    return indexes


async def test_an_entry_has_a_reference_and_a_commitment_and_no_name(path: Path) -> None:
    (index,) = await written(path, asked())

    told = by(path, index)
    with proven(LogLocation(database=path)) as log:
        jane = log.people[told["requester"]["ref"]]
    assert JANE.encode() not in body(path, index)
    assert b"support-platform" not in body(path, index)
    assert jane.name == JANE
    said = hashlib.sha256(jane.salt + b'{"name":"jane@example.org"}').hexdigest()
    assert told["requester"]["c"] == said
    assert verify_database(path).size == index + 1


async def test_the_clusters_own_users_are_no_people(path: Path) -> None:
    (index,) = await written(path, asked())

    assert by(path, index)["changed_by"] == {"name": BOT}
    with proven(LogLocation(database=path)) as log:
        assert {person.name for person in log.people.values()} == {JANE, "support-platform"}


async def test_one_person_has_one_reference_until_they_are_erased(path: Path) -> None:
    first, second = await written(path, asked(1), asked(2))
    ledger = objects.opened(path)
    await ledger.erase(JANE, NOW)
    (third,) = await ledger.commit(asked(3))
    ledger.close()

    refs = [by(path, index)["requester"]["ref"] for index in (first, second, third)]
    assert refs[0] == refs[1] != refs[2]


async def test_two_logs_have_two_references_for_one_person(tmp_path: Path) -> None:
    """Nobody can follow a person from log to log, nor guess a reference from a name."""
    (one,) = await written(tmp_path / "one.db", asked())
    (other,) = await written(tmp_path / "other.db", asked())

    assert (
        by(tmp_path / "one.db", one)["requester"] != by(tmp_path / "other.db", other)["requester"]
    )


async def test_who_is_erased_leaves_no_trace_and_the_log_still_verifies(path: Path) -> None:
    ledger = objects.opened(path)
    (index,) = await ledger.commit(asked())
    before = body(path, index)
    assert traces(path, JANE) != []

    told = await ledger.erase(JANE, NOW)

    assert traces(path, JANE) == []  # while it is open: the write-ahead log, too
    event = json.loads(body(path, told))
    assert event["type"] == "dev.taskpass.privacy.erase"
    assert event["data"]["ref"] == json.loads(before)["data"]["by"]["requester"]["ref"]
    ledger.close()
    assert body(path, index) == before
    assert verify_database(path).size == told + 1
    assert traces(path, JANE) == []
    assert traces(path, "support-platform") == ["ledger.db"]


async def test_an_entry_told_again_after_its_person_was_erased_is_the_same(path: Path) -> None:
    ledger = objects.opened(path)
    (index,) = await ledger.commit(asked())
    await ledger.erase(JANE, NOW)

    assert await ledger.commit(asked()) == (index,)
    ledger.close()


async def test_a_person_that_nobody_knows_cannot_be_erased(path: Path) -> None:
    ledger = objects.opened(path)

    assert await ledger.erase("nobody", NOW) == -1
    ledger.close()
    assert verify_database(path).size == 2


async def test_a_batch_that_is_refused_leaves_nobody(path: Path) -> None:
    ledger = objects.opened(path)
    twice = asked().entries * 2
    with pytest.raises(Exception, match="told twice"):
        await ledger.commit(Batch(entries=twice))
    ledger.close()

    with reading(path) as log:
        assert log.db.execute("SELECT count(*) FROM person").fetchone() == (0,)


async def test_erasing_waits_for_its_turn_and_others_go_on(path: Path) -> None:
    ledger = objects.opened(path)
    work = [ledger.commit(asked(n)) for n in range(20)]

    results = await asyncio.gather(*work, ledger.erase(JANE, NOW), ledger.commit(asked(99)))

    ledger.close()
    assert results[20] >= 0
    assert verify_database(path).size == 2 + 20 + 1 + 1


async def test_who_is_erased_is_forgotten_as_who_started_a_pod_whatever_is_written_meanwhile(
    path: Path,
) -> None:
    started = TaskRecord(task=GRANT.task, origin=Origin(names=(JANE, "bob")), attempt=1)
    ledger = objects.opened(path)
    await ledger.commit(Batch(tasks=(started,)))

    # Two decisions that both began before: one is in front of the erasure, one after it.
    await asyncio.gather(
        ledger.commit(Batch(tasks=(replace(started, attempt=2),))),
        ledger.erase(JANE, NOW),
        ledger.commit(Batch(tasks=(replace(started, attempt=3),))),
    )

    found = ledger.record(GRANT.task.uid)
    assert found is not None
    assert found.attempt == 3
    assert found.origin == Origin(names=("bob",), unknown=FORGOTTEN)
    assert traces(path, JANE) == []
    ledger.close()


async def test_who_is_erased_offline_is_forgotten_as_who_started_a_pod(path: Path) -> None:
    record = replace(objects.RECORD, started_at=NOW, origin=Origin(names=(JANE,)))
    told = entries.attested(record, NOW, objects.notice("Attested"))
    await written(path, asked(), Batch(entries=(told,), tasks=(record,)))

    erase(path, JANE, SeedSigner(objects.SEED), NOW)

    assert traces(path, JANE) == []


async def test_who_is_named_in_an_approval_that_is_waited_for_is_not_erased_yet(path: Path) -> None:
    text = asked_text({"requester": JANE}, "n")
    waiting = ApprovalRequest(name="tickets", text=text, nonce="n", since=NOW, epoch=1)
    ledger = objects.opened(path)
    await ledger.commit(asked())
    await ledger.commit(Batch(tasks=(TaskRecord(task=GRANT.task, asked=(waiting,)),)))

    with pytest.raises(UsageError, match=r"AgentTask \S+ waits for an approval that names them"):
        await ledger.erase(JANE, NOW)
    await ledger.commit(Batch(tasks=(TaskRecord(task=GRANT.task),)))
    index = await ledger.erase(JANE, NOW)

    assert index > 0
    assert traces(path, JANE) == []
    ledger.close()


async def test_a_name_that_is_a_key_of_what_is_asked_is_not_taken_for_somebody(path: Path) -> None:
    waiting = ApprovalRequest(
        name="tickets", text=asked_text({"requester": BOT}, "n"), nonce="n", since=NOW, epoch=1
    )
    ledger = objects.opened(path)
    await ledger.commit(asked(people={"requester": "requester"}))
    await ledger.commit(Batch(tasks=(TaskRecord(task=GRANT.task, asked=(waiting,)),)))

    assert await ledger.erase("requester", NOW) > 0
    ledger.close()


async def test_what_was_being_asked_while_somebody_is_erased_does_not_bring_them_back(
    path: Path,
) -> None:
    text = asked_text({"agent": {"started_by": [JANE]}}, "n")
    decided = TaskRecord(
        task=GRANT.task, origin=Origin(names=(JANE,)),
        asked=(ApprovalRequest(name="tickets", text=text, nonce="n", since=NOW, epoch=1),),
    )  # fmt: skip
    ledger = objects.opened(path)
    await ledger.commit(asked())
    erased = asyncio.create_task(ledger.erase(JANE, NOW))
    await asyncio.sleep(0)
    await ledger.commit(Batch(tasks=(decided,)))
    await erased

    found = ledger.record(GRANT.task.uid)
    assert found is not None
    assert (found.asked, found.origin) == ((), Origin(unknown=FORGOTTEN))
    ledger.close()
    assert traces(path, JANE) == []


async def test_an_erasure_that_is_refused_forgets_nothing(path: Path) -> None:
    waiting = ApprovalRequest(
        name="t", text=asked_text({"by": JANE}, "n"), nonce="n", since=NOW, epoch=1
    )
    record = TaskRecord(task=GRANT.task, origin=Origin(names=(JANE,)), asked=(waiting,))
    ledger = objects.opened(path)
    await ledger.commit(Batch(tasks=(record,)))

    with pytest.raises(UsageError):
        await ledger.erase(JANE, NOW)
    await ledger.commit(Batch(tasks=(replace(record, phase="next"),)))

    found = ledger.record(GRANT.task.uid)
    assert found is not None
    assert found.origin == Origin(names=(JANE,))
    ledger.close()


async def test_who_has_only_started_a_pod_is_erased_and_an_entry_says_so(path: Path) -> None:
    unknown = f"{JANE} may have changed it"
    origin = Origin(names=(JANE,), unknown=unknown)
    started = replace(objects.RECORD, started_at=NOW, origin=origin)
    attested = entries.attested(started, NOW, objects.notice("Attested"))
    ledger = objects.opened(path)
    await ledger.commit(Batch(entries=(attested,), tasks=(started,)))

    index = await ledger.erase(JANE, NOW)

    assert json.loads(body(path, index))["type"] == "dev.taskpass.privacy.erase"
    assert traces(path, JANE) == []
    assert verify_database(path).size == index + 1
    ledger.close()


async def test_who_is_named_in_the_trail_of_a_task_is_erased_once_that_is_gone(path: Path) -> None:
    notice = Notice(reason="Approved", message=f"'{JANE}' approved credential 'tickets'")
    record = TaskRecord(task=GRANT.task)
    ledger = objects.opened(path)
    entry = replace(asked().entries[0], notice=notice)
    await ledger.commit(Batch(entries=(entry,), tasks=(record,)))

    with pytest.raises(UsageError, match=r"The trail of AgentTask \S+ names them"):
        await ledger.erase(JANE, NOW)
    gone = entries.forgotten(record, 0, NOW)
    await ledger.commit(Batch(entries=(gone,), forgets=(GRANT.task.uid,)))
    await ledger.erase(JANE, NOW)

    assert traces(path, JANE) == []
    ledger.close()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("read mail of jane@example.org", True),
        ("'jane@example.org' approved", True),
        ("mary.jane@example.org.uk", True),  # refused for nothing is better than left behind
        ("xjane@example.orgs", False),
    ],
)
def test_a_name_is_a_word_of_its_own(text: str, named: bool) -> None:
    assert mentions(text, JANE) is named


async def test_the_timeline_says_who_asked_and_that_they_were_erased(path: Path) -> None:
    await written(path, asked())
    told = run("timeline", GRANT.task.name, "--db", str(path)).output
    ledger = objects.opened(path)
    await ledger.erase(JANE, NOW)
    ledger.close()
    after = run("timeline", GRANT.task.name, "--db", str(path)).output

    assert "asked for by jane@example.org, sponsor support-platform" in " ".join(told.split())
    assert JANE not in after
    assert "(erased), sponsor support-platform" in " ".join(after.split())


async def test_who_shows_what_proves_a_commitment(path: Path) -> None:
    (index,) = await written(path, asked())
    ref = by(path, index)["requester"]["ref"]

    listed, shown = run("who", "--db", str(path)), run("who", ref, "--json", "--db", str(path))
    unknown = run("who", "p-0000000000000000", "--db", str(path))

    assert f"{ref}  {JANE}\n" in listed.output
    assert "salt" not in listed.output
    assert json.loads(shown.stdout)["c"] == by(path, index)["requester"]["c"]
    assert (unknown.exit_code, "no entry that is here speaks of it" in unknown.stderr) == (1, True)


async def test_a_ledger_that_nobody_has_open_is_erased_with_its_key(path: Path) -> None:
    await written(path, asked())
    seed = path.with_name("seed")
    seed.write_bytes(base64.b64encode(objects.SEED))
    seed.chmod(0o600)
    command = ["erase", "--subject", JANE, "--db", str(path), "--key-file", str(seed)]

    done, again = run(*command), run(*command)

    assert done.exit_code == 0, done.output
    assert (again.exit_code, again.stderr) == (1, "Nothing is known of them\n")
    assert traces(path, JANE) == []


class Answering:
    """What an operator does beside its work."""

    def __init__(self, path: Path, ledger: SqliteLedger) -> None:
        self.path = path
        self.ledger = ledger
        self.seen: list[Mapping[str, str]] = []

    async def do(self, request: Mapping[str, str], tell: Callable[[str], None]) -> int:
        self.seen.append(request)
        if request.get("do") != "erase":
            raise UsageError("The operator knows no such request")
        index: int = await self.ledger.erase(request["subject"], NOW, tell)
        return index

    async def until(self, asking: threading.Thread) -> None:
        while asking.is_alive():
            await answer_all(self.path, self.do)
            await asyncio.sleep(0.01)


async def test_an_operator_that_has_the_ledger_open_is_asked(path: Path) -> None:
    ledger = objects.opened(path)
    await ledger.commit(asked())
    results: list[Result] = []
    command = ("erase", "--subject", JANE, "--db", str(path), "--json")
    asking = threading.Thread(target=lambda: results.append(run(*command)))

    asking.start()
    await Answering(path, ledger).until(asking)

    ledger.close()
    assert results[0].exit_code == 0, results[0].output
    assert json.loads(results[0].output) == {"index": 3}
    assert list(place_of(path).iterdir()) == []
    assert traces(path, JANE) == []


async def test_a_request_that_is_none_is_refused_and_harms_nothing(path: Path) -> None:
    ledger = objects.opened(path)
    place_of(path).mkdir()
    for name, text in (("a", "no JSON"), ("b", "[]"), ("c", '{"do": "prune"}'), ("d", "\xff")):
        (place_of(path) / f"{name}.json").write_bytes(text.encode("latin-1"))

    await answer_all(path, Answering(path, ledger).do)

    ledger.close()
    answers = {p.stem: json.loads(p.read_text()) for p in place_of(path).glob("*.answer")}
    assert set(answers) == set("abcd")
    assert all("error" in answer for answer in answers.values())
    assert list(place_of(path).glob("*.json")) == []


def test_without_an_operator_the_request_is_taken_back(path: Path) -> None:
    with pytest.raises(Incomplete, match="No operator answered"):
        ask(path, {"do": "erase", "subject": JANE}, patience=0.2)

    assert list(place_of(path).iterdir()) == []
