"""Witnesses are asked about a real ledger's file: over HTTP, by servers with keys of their own."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from taskpass.core.audit.anchor import AnchorReason
from taskpass.flows.cluster.witnessing import FRESH_SECONDS, Witnessing
from taskpass.ledger.log.key_history import declared_key
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner, verify_signature
from taskpass.ledger.query.history import History
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from taskpass.tlog.cosignature import cosigned_at
from taskpass.tlog.trust_policy import parse_policy
from taskpass.witness.client import HttpWitnesses
from taskpass.witness.http import application
from taskpass.witness.server import Witness, logs_of
from tests.unit.ledger import objects
from tests.unit.ledger.forging import execute, first_tile_emptied


class Clock:
    def __init__(self) -> None:
        self.at = objects.NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


class House:
    """A ledger that is being written, and witnesses that listen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger.db"
        self.clock = Clock()
        self.ledger = objects.opened(self.path)
        self.stack = AsyncExitStack()
        self.lines: list[str] = []
        self.witnesses: list[Witness] = []
        self.servers: list[TestServer] = []

    async def witness(self, number: int) -> TestServer:
        with reading(self.path) as log:
            key = declared_key(log)
        made = Witness(
            name=f"w{number}.example.org", signer=SeedSigner(bytes([20 + number]) * 32),
            logs=logs_of([key]), directory=self.folder / f"w{number}",
            now=lambda: int(self.clock.now().timestamp()),
        )  # fmt: skip
        return await self.serve(made, application(made))

    async def serve(self, made: Witness, app: web.Application) -> TestServer:
        server = await self.stack.enter_async_context(TestServer(app))
        self.witnesses.append(made)
        self.servers.append(server)
        self.lines.append(f"witness w{len(self.lines) + 1} {made.key.vkey()} {server.make_url('')}")
        return server

    def witnessing(self, quorum: str = "group q all") -> Witnessing:
        """Return it as a start of the operator makes it."""
        names = " ".join(f"w{n + 1}" for n in range(len(self.lines)))
        policy = "\n".join((*self.lines, f"{quorum} {names}", "quorum q"))
        asker = HttpWitnesses()
        self.stack.push_async_callback(asker.close)
        return Witnessing(
            parse_policy(policy), asker, History(self.path, lambda: self.ledger.head()),
            self.ledger.keep_cosigned, self.clock, verify_signature,
        )  # fmt: skip

    async def grow(self, size: int) -> None:
        await objects.filled(self.ledger, size)

    def cosigned(self) -> str:
        with reading(self.path) as log:
            return log.cosigned()

    def reopen(self) -> None:
        self.ledger = objects.opened(self.path)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.grow(300)
    async with made.stack:
        yield made
    made.ledger.close()


async def test_all_witnesses_cosign_one_checkpoint_and_it_is_kept(house: House) -> None:
    await house.witness(1)
    await house.witness(2)
    witnessing = house.witnessing()

    await witnessing.round()

    note = house.cosigned()
    assert [cosigned_at(note, w.key, verify_signature) for w in house.witnesses] == [
        int(objects.NOW.timestamp())
    ] * 2
    assert witnessing.figures == {"level": 2, "cosignedSize": 300}
    assert verify_database(house.path).cosigned == note


async def test_a_log_that_grows_is_cosigned_again_and_only_the_last_is_kept(house: House) -> None:
    await house.witness(1)
    witnessing = house.witnessing()
    await witnessing.round()
    await house.grow(700)

    await witnessing.round()

    assert witnessing.figures == {"level": 2, "cosignedSize": 700}
    assert house.cosigned().split("\n")[1] == "700"
    assert witnessing.stands["w1"].failures == 0


async def test_a_log_that_stays_is_not_asked_about_until_the_cosignature_is_old(
    house: House,
) -> None:
    server = await house.witness(1)
    witnessing = house.witnessing()
    await witnessing.round()
    await server.close()

    await witnessing.round()
    assert witnessing.stands["w1"].unhealthy_reason is None

    house.clock.at += timedelta(seconds=FRESH_SECONDS)
    await witnessing.round()
    assert "did not answer" in witnessing.stands["w1"].unhealthy_reason
    assert witnessing.figures["level"] == 2


async def test_a_new_start_goes_on_where_the_witness_left_off(house: House) -> None:
    await house.witness(1)
    await house.witnessing().round()
    await house.grow(400)
    again = house.witnessing()

    await again.round()

    assert again.figures.get("cosignedSize") == 400
    assert again.stands["w1"].cosigned == 400


async def test_one_that_is_away_is_no_reason_to_stop_and_is_counted(house: House) -> None:
    await house.witness(1)
    server = await house.witness(2)
    await server.close()
    witnessing = house.witnessing("group q all")

    await witnessing.round()

    assert witnessing.proven is None
    assert witnessing.figures == {"level": 1}
    assert (witnessing.stands["w1"].failures, witnessing.stands["w2"].failures) == (0, 1)


async def test_what_a_quorum_has_cosigned_is_not_given_up_for_less(house: House) -> None:
    await house.witness(1)
    server = await house.witness(2)
    witnessing = house.witnessing()
    await witnessing.round()
    await server.close()
    await house.grow(400)

    await witnessing.round()

    assert witnessing.figures == {"level": 2, "cosignedSize": 300}
    assert house.cosigned().count("w2.example.org") == 1


async def test_an_older_copy_is_proven_by_what_a_witness_remembers(house: House) -> None:
    await house.witness(1)
    house.ledger.close()
    shutil.copy(house.path, house.folder / "older")
    house.reopen()
    await house.grow(500)
    await house.witnessing().round()
    house.ledger.close()
    shutil.copy(house.folder / "older", house.path)
    house.reopen()
    restored = house.witnessing()

    await restored.round()

    assert restored.proven is not None
    reason, said = restored.proven.reason, restored.proven.message
    assert reason is AnchorReason.AUDIT_ROLLBACK
    assert said.startswith("Witness 'w1' has a checkpoint of it that its own key signed. The log ")
    assert "and had 500: an older copy is in its place" in said


@pytest.mark.parametrize("size", [500, 600], ids=["at the same size", "grown further"])
async def test_a_log_written_anew_with_the_right_key_is_proven_a_fork(
    house: House, size: int
) -> None:
    await house.witness(1)
    house.ledger.close()
    shutil.copy(house.path, house.folder / "older")
    house.reopen()
    await house.grow(500)
    await house.witnessing().round()
    house.ledger.close()
    shutil.copy(house.folder / "older", house.path)
    house.reopen()
    await house.ledger.commit(Batch(entries=(objects.entry("another"),)))
    await house.grow(size)
    forked = house.witnessing()

    await forked.round()

    assert forked.proven is not None
    assert forked.proven.reason is AnchorReason.AUDIT_FORK
    assert forked.figures == {"level": 1}


async def false_witness(house: House, answers: dict[str, web.Response]) -> None:
    """Add one that answers as it likes."""

    async def add(_: web.Request) -> web.Response:
        return answers["add"]

    async def read(_: web.Request) -> web.Response:
        return answers.get("read", web.Response(status=404))

    app = web.Application()
    app.router.add_post("/add-checkpoint", add)
    app.router.add_get("/{hash}/checkpoint", read)
    key = SeedSigner(bytes([99]) * 32)
    made = Witness(
        name="false.example.org", signer=key, logs={}, directory=house.folder, now=lambda: 0
    )
    await house.serve(made, app)


STALE = "text/x.tlog.size"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": 200, "text": ""}, "it is not a signed note|another key than its own"),
        ({"status": 200, "text": "\u2014 x AAAAAAAA\n"}, "another key than its own"),
        ({"status": 409, "body": b"999999\n", "content_type": STALE}, "does not show what it"),
        ({"status": 409, "body": b"1e9\n", "content_type": STALE}, "does not show what it"),
        ({"status": 422}, "does not show what it"),
        ({"status": 403}, "give it the log's vkey"),
        ({"status": 404}, "give it the log's vkey"),
        ({"status": 400}, "malformed"),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, "with status 302"),
        ({"status": 500}, "with status 500"),
        ({"status": 200, "body": b"\xff\xfe"}, "did not answer"),
    ],
)
async def test_a_witness_can_stop_nothing_by_a_word(
    house: House, answer: dict[str, object], said: str
) -> None:
    await false_witness(house, {"add": web.Response(**answer)})  # type: ignore[arg-type]
    witnessing = house.witnessing()

    await witnessing.round()

    assert witnessing.proven is None
    assert house.cosigned() == ""
    assert re.search(said, witnessing.stands["w1"].unhealthy_reason or "")


@pytest.mark.parametrize("signed", ["by itself", "by nobody"])
async def test_a_checkpoint_that_the_logs_key_has_not_signed_proves_nothing(
    house: House, signed: str
) -> None:
    """Whoever has another key, with the same origin and a larger size, shows nothing."""
    other = SqliteLedger.open(
        house.folder / "other.db", signer=SeedSigner(bytes([66]) * 32), cluster_id="3c1f0a9e",
        instance="x", now=objects.NOW,
    )  # fmt: skip
    await objects.filled(other, 400)
    note = other.note()
    other.close()
    if signed == "by nobody":
        note = note.replace(note.split("\n")[0], house.ledger.origin)
    answers = {
        "add": web.Response(status=409, body=b"400\n", content_type=STALE),
        "read": web.Response(text=note),
    }
    await false_witness(house, answers)
    witnessing = house.witnessing()

    await witnessing.round()

    assert witnessing.proven is None
    assert "none of the log's keys has signed it" in witnessing.stands["w1"].unhealthy_reason


async def test_a_tile_that_is_edited_for_a_round_proves_no_fork(house: House) -> None:
    await house.witness(1)
    witnessing = house.witnessing()
    await witnessing.round()
    await house.grow(310)
    with first_tile_emptied(house.path):
        await witnessing.round()
        told = witnessing.stands["w1"].unhealthy_reason

    house.clock.at += timedelta(seconds=700)
    await witnessing.round()

    assert "is not the file that the log is written to, or was edited" in told
    assert (witnessing.stands["w1"].unhealthy_reason, witnessing.proven) == (None, None)


@pytest.mark.parametrize("note", ["", "nonsense", "of another log"])
async def test_a_checkpoint_that_was_put_there_is_not_told_as_cosigned(
    house: House, note: str
) -> None:
    await house.witness(1)
    await house.witnessing().round()
    if note == "of another log":
        note = house.cosigned().replace("audit.taskpass.dev", "audit.example.org")
    quoted = note.replace("'", "''")
    execute(house.path, f"UPDATE ckpt SET note = '{quoted}' WHERE kept = 'cosigned'")

    assert History(house.path, house.ledger.head).cosigned() == ""
