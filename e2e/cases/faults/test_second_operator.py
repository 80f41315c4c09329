"""A second operator by mistake, with a volume of its own: it waits, and writes nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.admission import GRANTS
from e2e.as_operator import OPERATOR
from e2e.cases.faults.conftest import operator_at
from e2e.cases.faults.proxy import Proxy
from e2e.impersonate import Refused
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, until
from taskpass.core.errors import ApiUnavailable
from taskpass.kube.api.client import KubeClient
from taskpass.kube.lease import NAME, Lease

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{GRANTS}/leases/{NAME}"
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def others_proxy(kubeconfig: str) -> Iterator[Proxy]:
    """Return what counts the calls of the second."""
    with Proxy.of_kubeconfig(kubeconfig) as running:
        yield running


@pytest.fixture
def second(
    stage: Stage, kubeconfig: str, tmp_path: Path, others_proxy: Proxy
) -> Iterator[OperatorProcess]:
    """Return a second operator that has been started and says what it waits for."""
    made = operator_at(kubeconfig, tmp_path, others_proxy)
    made.start(ready=False)
    try:
        until(lambda: "holds Lease" in made.http("/readyz")[1], said=made.tail)
        yield made
    finally:
        made.stop()


def written(proxy: Proxy) -> dict[str, int]:
    return {verb: proxy.counts[verb] for verb in WRITES if proxy.counts[verb]}


def test_it_waits_and_says_for_whom_while_the_first_goes_on(
    stage: Stage, second: OperatorProcess, others_proxy: Proxy, name: str
) -> None:
    status, said = second.http("/readyz")

    stage.begin_ready(name)
    token = stage.token(name)
    stage.end(name)
    stage.wait_finished(name, "Succeeded")

    assert status == 503
    assert "lease: waiting, nothing is written: the operator of log 'audit.taskpass.dev/" in said
    assert "remove one of the two" in said
    assert stage.reads(token) != 200
    assert not second.ended()
    assert second.http("/livez")[0] == 200
    until(lambda: others_proxy.counts["GET"] > 3)
    assert written(others_proxy) == {}


def test_it_takes_over_once_the_first_is_gone_and_undoes_what_it_does_not_know(
    stage: Stage, second: OperatorProcess, others_proxy: Proxy, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    before = written(others_proxy)

    stage.operator.stop()
    until(lambda: "is remembered" in second.http("/readyz")[1])  # its log is another
    second.forget_log()
    second.wait_ready()

    until(lambda: stage.reads(token) != 200)
    assert before == {}
    assert stage.accounts() == set()
    fresh = f"{name}-fresh"
    stage.begin_ready(fresh)
    assert stage.reads(stage.token(fresh)) == 200
    second.stop()


def test_a_stop_gives_it_up_and_a_kill_does_not(stage: Stage) -> None:
    stage.operator.kill()
    killed = stage.api.call("GET", LEASE)["spec"].get("holderIdentity")
    stage.operator.start()
    stage.operator.stop()

    stopped = stage.api.call("GET", LEASE)["spec"].get("holderIdentity")

    assert killed
    assert not stopped


async def test_one_that_was_killed_is_succeeded_after_the_time_of_the_lease(
    stage: Stage, kubeconfig: str
) -> None:
    stage.operator.stop()
    async with KubeClient.from_kubeconfig(kubeconfig, impersonate=OPERATOR) as client:
        killed = Lease(client, seconds=3, call_seconds=1)
        successor = Lease(client, seconds=3, call_seconds=1)
        never = asyncio.Event()
        clock = asyncio.get_running_loop().time
        await killed.acquire("log-killed", never, lambda _: None)
        began = clock()

        said: list[str] = []
        await successor.acquire("log-successor", never, said.append)
        waited = clock() - began

        successor.check()
        with pytest.raises(ApiUnavailable):
            killed.check()
        await successor.release()

    assert "log-killed" in said[0]
    assert 2.5 < waited < 10


def test_without_the_right_it_waits_and_says_so(
    stage: Stage, kubeconfig: str, tmp_path: Path, others_proxy: Proxy
) -> None:
    stage.operator.stop()
    role = stage.api.get("Role", GRANTS, "taskpass-grants")
    others = [r for r in role["rules"] if r["apiGroups"] != ["coordination.k8s.io"]]
    stage.api.merge(role, {"rules": others})
    second = operator_at(kubeconfig, tmp_path, others_proxy)
    try:
        second.start(ready=False)
        until(lambda: "it cannot be had" in second.http("/readyz")[1], said=second.tail)
        said = second.http("/readyz")[1]
        stage.api.merge(role, {"rules": role["rules"]})
        second.wait_ready()
    finally:
        stage.api.merge(role, {"rules": role["rules"]})
        second.stop()

    assert "403" in said


def test_the_lease_of_grants_is_not_a_tenants_to_take(stage: Stage) -> None:
    with pytest.raises(Refused, match="forbidden"):
        stage.alice.call("GET", LEASE)
