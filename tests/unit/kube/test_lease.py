"""The Lease: one operator writes, and nobody is cut off by a clock that is not his own."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from taskpass.core.errors import ApiUnavailable, Conflict, Forbidden, LeaseLost, NotFound
from taskpass.kube import lease as lease_module
from taskpass.kube.lease import Lease
from taskpass.runtime.loops import BackgroundLoops
from tests.unit.kube.scripted_server import Answer, Script, item
from tests.unit.test_background import FAULTS

PATH = "/apis/coordination.k8s.io/v1/namespaces/taskpass-grants/leases"
MINE, THEIRS = "audit.example/c-1/log-mine", "audit.example/c-1/log-theirs"


class OneLease:
    """An API server that holds one Lease: versions, conflicts, and answers that are lost."""

    def __init__(self) -> None:
        self.live: dict[str, Any] | None = None
        self.version = 0
        self.away: BaseException | None = None
        self.writes = 0
        self.met = 0
        """Calls that failed."""

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        self._answer()
        if self.live is None:
            raise NotFound("no Lease")
        return {**self.live, "spec": dict(self.live["spec"])}

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._answer()
        if self.live is not None:
            raise Conflict("it is there")
        return self._stored(body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._answer()
        if self.live is None:
            raise NotFound("no Lease")
        if body["metadata"]["resourceVersion"] != self.live["metadata"]["resourceVersion"]:
            raise Conflict("another version")
        return self._stored(body)

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    async def json_patch(self, path: str, body: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        raise NotImplementedError

    async def delete(self, path: str, *, uid: str = "", dry_run: bool = False) -> None:
        self.live = None

    def _answer(self) -> None:
        if self.away is not None:
            self.met += 1
            raise self.away

    def _stored(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.writes += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        self.live = {**body, "metadata": metadata}
        return self.live

    @property
    def holder(self) -> str:
        """Whose it is: a log's name."""
        assert self.live is not None
        return str(self.live["spec"]["holderIdentity"]).partition("#")[0]


class Hands:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def server() -> OneLease:
    return OneLease()


@pytest.fixture
def clock() -> Hands:
    return Hands()


async def taken(lease: Lease, log: str) -> bool:
    """Try once to get it."""
    stop, said = asyncio.Event(), ""

    def say(why: str) -> None:
        nonlocal said
        said = why
        stop.set()

    got = await lease.acquire(log, stop, say)
    assert got != bool(said)
    return got


async def test_the_first_makes_it_and_may_write(server: OneLease, clock: Hands) -> None:
    lease = Lease(server, monotonic=clock)

    with pytest.raises(ApiUnavailable):
        lease.check()

    assert await taken(lease, MINE)
    lease.check()
    assert server.holder == MINE


async def test_a_second_waits_and_writes_nothing(server: OneLease, clock: Hands) -> None:
    await taken(Lease(server, monotonic=clock), THEIRS)
    second, writes = Lease(server, monotonic=clock), server.writes

    assert not await taken(second, MINE)
    clock.seconds += 29
    assert not await taken(second, MINE)

    assert server.writes == writes
    assert server.holder == THEIRS
    with pytest.raises(ApiUnavailable, match="Nothing was written"):
        second.check()


async def test_a_second_goes_on_waiting_while_the_first_renews(
    server: OneLease, clock: Hands
) -> None:
    first, second = Lease(server, monotonic=clock), Lease(server, monotonic=clock)
    await taken(first, THEIRS)

    for _ in range(5):
        assert not await taken(second, MINE)
        clock.seconds += 20
        await first._renew()

    assert server.holder == THEIRS


async def test_an_api_server_that_stays_away_is_told_once(
    server: OneLease,
    clock: Hands,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease_module, "RETRY_SECONDS", 0)
    server.away = ApiUnavailable("no answer")
    stop, tries = asyncio.Event(), []

    def say(why: str) -> None:
        tries.append(why)
        if len(tries) == 3:
            stop.set()

    assert not await Lease(server, monotonic=clock).acquire(MINE, stop, say)

    assert tries == ["it cannot be had: no answer"] * 3
    assert [r.message for r in caplog.records] == ["Waiting for the Lease, nothing is written"]


async def test_what_is_not_renewed_is_taken_over_after_its_time(
    server: OneLease, clock: Hands
) -> None:
    first, second = Lease(server, monotonic=clock), Lease(server, monotonic=clock)
    await taken(first, THEIRS)
    await taken(second, MINE)

    clock.seconds += 30
    assert await taken(second, MINE)

    second.check()
    assert server.holder == MINE


async def test_the_first_stops_writing_before_the_second_may_begin(
    server: OneLease, clock: Hands
) -> None:
    first = Lease(server, monotonic=clock, call_seconds=15)
    await taken(first, THEIRS)

    clock.seconds += 15
    first.check()
    clock.seconds += 0.1

    with pytest.raises(ApiUnavailable):
        first.check()


async def kept(lease: Lease) -> None:
    """Renew it as the operator does."""
    loops, pause = BackgroundLoops(first_pause=0.01), lease.renew_seconds
    await loops.repeat("Renewing the Lease", lease.renew, pause, after=pause)


async def test_whoever_lost_it_ends(server: OneLease, clock: Hands) -> None:
    first, second = Lease(server, monotonic=clock, seconds=0.06), Lease(server, monotonic=clock)
    await taken(first, THEIRS)
    await taken(second, MINE)
    clock.seconds += 30
    await taken(second, MINE)

    with pytest.raises(LeaseLost, match=f"Another operator works in this cluster.*{MINE}"):
        await asyncio.wait_for(kept(first), 5)

    with pytest.raises(ApiUnavailable):
        first.check()


async def test_the_same_ledger_goes_on_at_once_after_a_crash(
    server: OneLease, clock: Hands
) -> None:
    await taken(Lease(server, monotonic=clock), MINE)

    assert await taken(Lease(server, monotonic=clock), MINE)


async def test_of_two_with_copies_of_one_ledger_the_earlier_ends(
    server: OneLease, clock: Hands
) -> None:
    first = Lease(server, monotonic=clock, seconds=0.06)
    await taken(first, MINE)
    await taken(Lease(server, monotonic=clock), MINE)

    with pytest.raises(LeaseLost, match="Another operator works"):
        await asyncio.wait_for(kept(first), 5)


async def test_what_is_given_up_is_had_at_once(server: OneLease, clock: Hands) -> None:
    first = Lease(server, monotonic=clock)
    await taken(first, THEIRS)

    await first.release()

    with pytest.raises(ApiUnavailable):
        first.check()
    assert await taken(Lease(server, monotonic=clock), MINE)


async def test_an_api_server_that_is_away_ends_nobody(server: OneLease, clock: Hands) -> None:
    lease = Lease(server, monotonic=clock, seconds=0.06)
    await taken(lease, MINE)
    before = server.writes
    server.away = ApiUnavailable("no answer")
    keeping = asyncio.ensure_future(kept(lease))

    clock.seconds += 60
    with pytest.raises(ApiUnavailable):
        lease.check()
    server.away = None
    while server.writes == before:
        await asyncio.sleep(0.01)
    done = keeping.done()
    keeping.cancel()

    assert not done
    assert server.holder == MINE


async def test_one_that_was_deleted_is_made_anew(server: OneLease, clock: Hands) -> None:
    lease = Lease(server, monotonic=clock)
    await taken(lease, MINE)
    server.live = None

    assert await lease._renew() is None

    assert server.holder == MINE


async def test_missing_rights_are_told_and_waited_for(server: OneLease, clock: Hands) -> None:
    server.away = Forbidden("leases is forbidden")

    assert not await taken(Lease(server, monotonic=clock), MINE)

    server.away = None
    assert await taken(Lease(server, monotonic=clock), MINE)


async def test_a_client_sends_no_write_past_its_fence(script: Script) -> None:
    path = "/api/v1/namespaces/support/pods/agent"
    script.on(f"GET {path}", Answer(item("agent", 1)))

    def fence() -> None:
        raise ApiUnavailable("not held")

    async with script.client(fence=fence) as client:
        await client.get(path)
        for call in (
            client.create(path, {}),
            client.replace(path, {}),
            client.merge_patch(path, {}),
            client.json_patch(path, []),
            client.delete(path),
        ):
            with pytest.raises(ApiUnavailable, match="not held"):
                await call

    assert [r.method for r in script.requests] == ["GET"]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_whatever_a_renewal_meets_it_is_renewed_by_the_next(
    server: OneLease, clock: Hands, fault: Callable[[], BaseException]
) -> None:
    lease = Lease(server, monotonic=clock, seconds=0.06)
    await taken(lease, MINE)
    before = server.writes
    server.away = fault()
    keeping = asyncio.ensure_future(kept(lease))
    while not server.met:
        await asyncio.sleep(0.001)

    server.away = None
    while server.writes == before:
        await asyncio.sleep(0.001)
    done = keeping.done()
    keeping.cancel()

    assert not done
    assert server.holder == MINE


async def test_nonsense_that_is_answered_at_the_start_is_waited_out(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskpass.kube.lease.RETRY_SECONDS", 0.001)
    free = item("taskpass-operator", 1, spec={})
    nonsense = [Answer({"spec": ["what?"]}), Answer({"kind": "Nothing"}), Answer(None, text="<p>")]
    script.on(f"GET {PATH}/taskpass-operator", *nonsense, Answer(free))
    script.on(f"POST {PATH}", Answer({"kind": "Nothing"}))
    waited: list[str] = []

    async with script.client() as client:
        lease = Lease(client)
        ours = item("taskpass-operator", 2, spec={"holderIdentity": ""})
        script.on(f"PUT {PATH}/taskpass-operator", Answer(ours))
        stop = asyncio.Event()

        def say(why: str) -> None:
            waited.append(why)
            if len(waited) == 5:
                stop.set()

        assert not await lease.acquire(MINE, stop, say)

    assert all(why.startswith("it cannot be had: ") for why in waited)


async def test_an_answer_that_does_not_name_us_is_no_renewal(
    script: Script,
) -> None:
    mine = item("taskpass-operator", 1, spec={"holderIdentity": f"{MINE}#1"})
    script.on(f"GET {PATH}/taskpass-operator", Answer(mine))
    script.on(f"PUT {PATH}/taskpass-operator", Answer({"kind": "Nothing", "status": {"x": 1}}))

    async with script.client() as client:
        lease = Lease(client)
        lease._log, lease._holder = MINE, f"{MINE}#1"
        with pytest.raises(ApiUnavailable, match="does not name us"):
            await lease.renew()
        with pytest.raises(ApiUnavailable, match="is not held"):
            lease.check()
