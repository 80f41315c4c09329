"""The ledger alone: `python -m bench.ledger`. Figures on standard output, progress beside it.

Every figure of speed has its floor beside it, taken in the same run on the same disk: what plain
`append` and `fsync` of as many bytes do.
"""

import argparse
import asyncio
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.figures import say, spread, tell
from taskpass.core.audit import events as audit
from taskpass.core.model.grant import Grant, GrantState, TaskRef
from taskpass.core.model.notice import Notice
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from taskpass.tlog.merkle import check_inclusion, inclusion_proof, leaf_hash
from taskpass.tlog.tiles import TileSubtrees

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALLERS = (1, 10, 100, 256)
OPEN_TARGET, VERIFY_TARGET, VERIFY_MIB, PROOF_TARGET_MS = 2.0, 10.0, 300.0, 20.0
PROOFS = 2_000


class Lost(Exception):
    """Something that was acknowledged is not there, or does not verify."""


def main(arguments: list[str]) -> int:
    """Run the benchmark; return the exit code: 1 where something that was acknowledged is gone."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each number of callers")
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the large log")
    chosen = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="taskpass-ledger-", dir=Path.cwd()))
    try:
        for callers in CALLERS:
            asyncio.run(_appends(directory / f"by-{callers}.db", callers, chosen.seconds))
        large = directory / "large.db"
        asyncio.run(_grow(large, chosen.entries))
        _open_again(large, chosen.entries)
        _prove(large, chosen.entries)
        _verify(large, chosen.entries)
    except Lost as error:
        tell("result", ok=False, failures=[str(error)])
        return 1
    finally:
        shutil.rmtree(directory)
    tell("result", ok=True, failures=[])
    return 0


def _grants() -> Iterator[Grant]:
    """Return grants that are alike but for id and task, as an operator would make them."""
    number = 0
    while True:
        number += 1
        task = TaskRef(namespace="support", name=f"ticket-{number}", uid=f"{number:036x}")
        yield replace(_GRANT, id=f"g-{number:032x}", task=task)


async def _appends(path: Path, callers: int, seconds: float) -> None:
    """Let so many callers append one entry after the other, and count what was acknowledged."""
    floor_each, floor_grouped = _fsyncs(path.parent, callers, seconds / 2)
    ledger = _opened(path)
    grants, took = _grants(), []
    deadline = time.monotonic() + seconds

    async def call() -> None:
        while (began := time.monotonic()) < deadline:
            grant = next(grants)
            await ledger.commit(Batch(entries=(audit.issue_intent(grant, NOW),), grants=(grant,)))
            took.append(time.monotonic() - began)

    before, began, used = ledger.size, time.monotonic(), time.process_time()
    await asyncio.gather(*(call() for _ in range(callers)))
    elapsed, size = time.monotonic() - began, ledger.size
    used = time.process_time() - used
    ledger.close()
    with reading(path) as log:
        if not log.size == size == before + len(took):
            raise Lost("an acknowledged entry is not there")
    rate = len(took) / elapsed
    tell(
        "ledger-append", callers=callers, cpu_us_per_entry=round(used / len(took) * 1e6),
        entries_per_second=round(rate), **spread(took),
        floor_fsyncs_per_second=round(floor_each),
        floor_entries_per_second=round(floor_grouped),
        of_floor=round(rate / floor_grouped, 2),
    )  # fmt: skip


def _fsyncs(directory: Path, group: int, seconds: float) -> tuple[float, float]:
    """Return what the disk makes durable a second: single writes, and entries written in groups."""
    body = os.urandom(900)
    return (_synced(directory, body, seconds), group * _synced(directory, body * group, seconds))


def _synced(directory: Path, data: bytes, seconds: float) -> float:
    path = directory / "floor"
    count, began = 0, time.monotonic()
    with path.open("ab", buffering=0) as file:
        while time.monotonic() - began < seconds:
            file.write(data)
            os.fsync(file.fileno())
            count += 1
    elapsed = time.monotonic() - began
    path.unlink()
    return count / elapsed


async def _grow(path: Path, entries: int) -> None:
    """Fill a log with whole lives of grants: issue, result, delivery, revocation."""
    ledger, began = _opened(path), time.monotonic()
    grants = _grants()
    while ledger.size < entries:
        batches = [_life(next(grants)) for _ in range(min(500, (entries - ledger.size) // 5 + 1))]
        await asyncio.gather(*(ledger.commit(batch) for batch in batches))
        if ledger.size % 100_000 < 2_500:
            say(f"{ledger.size:,} entries are written")
    size, elapsed = ledger.size, time.monotonic() - began
    ledger.close()
    mib = path.stat().st_size / 2**20
    tell(
        "ledger-size", entries=size, mib=round(mib, 1), bytes_per_entry=round(mib * 2**20 / size),
        seconds=round(elapsed, 1), entries_per_second=round(size / elapsed),
    )  # fmt: skip


def _life(grant: Grant) -> Batch:
    end = NOW + timedelta(seconds=900)
    issued = replace(
        grant, state=GrantState.ISSUED, issued_at=NOW, expires_at=end, fingerprint=64 * "a",
        credential_ref=grant.id,
    )  # fmt: skip
    over = replace(issued, state=GrantState.REVOKED, revoke_reason="Finished", revoking_since=NOW)
    entries = (
        audit.issue_intent(grant, NOW),
        audit.issue_result(issued, NOW, Notice(reason="CredentialIssued", message="Issued")),
        audit.delivered(issued, NOW, grant.task.uid),
        audit.revoke_intent(over, NOW),
        audit.revoke_result(over, NOW, None),
    )
    return Batch(entries=entries, grants=(over,))


def _open_again(path: Path, entries: int) -> None:
    began = time.monotonic()
    ledger = _opened(path)
    took = time.monotonic() - began
    size = ledger.size
    ledger.close()
    if size < entries:
        raise Lost("entries are gone after a restart")
    tell(
        "ledger-open", entries=size, seconds=round(took, 2), target=OPEN_TARGET,
        met=took <= OPEN_TARGET,
    )  # fmt: skip


def _prove(path: Path, entries: int) -> None:
    """Prove entries all over the log, each as a first question would be: from a cold reader."""
    took = []
    step = max(1, entries // PROOFS)
    with reading(path) as log:
        subtrees = TileSubtrees(log.size, log.tile)
        for index in range(0, entries, step):
            began = time.monotonic()
            proof = inclusion_proof(index, log.size, subtrees)
            took.append(time.monotonic() - began)
            check_inclusion(proof, index, log.size, leaf_hash(log.entry(index)), log.root)
        count = log.size
    times = spread(took)
    tell(
        "ledger-proof", entries=count, n=len(took), **times, target_p99=PROOF_TARGET_MS,
        met=times["p99"] <= PROOF_TARGET_MS,
    )  # fmt: skip


def _verify(path: Path, entries: int) -> None:
    """Verify in a process of its own, so that its memory can be told."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if verify_database(path).size >= entries else 1
        finally:
            os._exit(code)
    _, status, used = os.wait4(pid, 0)
    took = time.monotonic() - began
    if status:
        raise Lost("the large log does not verify")
    mib = _mib(used)
    tell(
        "ledger-verify", entries=entries, seconds=round(took, 1), target=VERIFY_TARGET,
        peak_mib=round(mib), target_mib=VERIFY_MIB,
        met=took <= VERIFY_TARGET and mib <= VERIFY_MIB,
    )  # fmt: skip


def _mib(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / 1024


def _opened(path: Path) -> SqliteLedger:
    return SqliteLedger.open(
        path, signer=SeedSigner(bytes(32)), cluster_id="00000000", instance="bench", now=NOW
    )


_GRANT = Grant(
    id="", task=TaskRef(namespace="", name="", uid=""), generation=1, attempt=1, phase="research",
    name="tickets", class_name="tickets-api", provider="Kubernetes", actions=("tickets.read",),
    resources=("ticket/4711",), location="", request_digest="sha256:" + 64 * "a",
    intent_digest="sha256:" + 64 * "b", class_digest="sha256:" + 64 * "c",
    policy="AgentPolicy/support/triage", policy_digest="sha256:" + 64 * "d",
    pod_name="ticket-x7k2p", pod_uid=36 * "e", service_account="triage-agent",
    service_account_uid=36 * "f", lifetime_seconds=900, state=GrantState.INTENT,
    provider_state={"serviceAccount": "g", "bindings": [{"namespace": "a", "name": "b"}]},
    intent_at=NOW,
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
