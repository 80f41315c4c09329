"""One tenant has the ledger written without end; it fills its budget, and keeps nobody waiting."""

from collections.abc import Callable, Iterator

import pytest

from e2e.admission import GROUP, LABEL, pod, task
from e2e.cases.floods.conftest import FLOOD
from e2e.cases.floods.test_floods import WITHIN_SECONDS, refused_after
from e2e.impersonate import Api, Object, Refused, path_of, thing
from e2e.stage import Stage, condition, until

TASKS = path_of("AgentTask", FLOOD)
PODS = path_of("Pod", FLOOD)
SMALL = {
    "TASKPASS_LEDGER_TASK_BURST_KIB": "16",
    "TASKPASS_LEDGER_TASK_KIB_PER_DAY": "16",
    "TASKPASS_LEDGER_NAMESPACE_BURST_KIB": "96",
    "TASKPASS_LEDGER_NAMESPACE_KIB_PER_DAY": "16",
}
"""A savepoint costs some 600 bytes, a credential some 5,000 of them: what a few seconds fill."""
ROUNDS = 120


def in_flood(made: Object) -> Object:
    """Return an object in mallory's namespace."""
    return {**made, "metadata": {**made["metadata"], "namespace": FLOOD}}


@pytest.fixture(autouse=True)
def small(stage: Stage) -> Iterator[None]:
    """Have the operator begin a ledger of its own with small budgets; then with the usual ones."""
    operator = stage.operator
    operator.stop()
    for file in operator.directory.glob("ledger.db*"):
        file.unlink()
    operator.start(**SMALL)
    yield
    for path in (PODS, TASKS):
        stage.api.call("DELETE", path, gracePeriodSeconds="0")
    until(lambda: not stage.api.call("GET", TASKS)["items"], 60, operator.tail)
    operator.stop()
    operator.start()


def make(mallory: Api, name: str, **spec: object) -> None:
    """Have mallory make a task, and the pod that it is for."""
    mallory.create(in_flood(task(name, **spec)))
    mallory.create(in_flood(pod(name)))


def says_savepoints(stage: Stage, mallory: Api) -> None:
    make(mallory, "one")
    for number in range(ROUNDS):
        saved = f"step-{number} sha256:{number:064x}"
        steps = {"metadata": {"annotations": {"taskpass.dev/savepoint": saved}}}
        mallory.merge(in_flood(task("one")), steps)


def asks_for_what_is_denied(stage: Stage, mallory: Api) -> None:
    for number in range(ROUNDS):
        asked = {"name": "none", "classRef": {"name": "tickets"}, "actions": ["read"]}
        asked["resources"] = ["namespace/nowhere"]
        make(mallory, f"denied-{number}", credentials=[asked])


def runs_pods_that_are_refused(stage: Stage, mallory: Api) -> None:
    mallory.create(in_flood(task("one")))
    for number in range(2 * ROUNDS):
        wrong = in_flood(pod(f"wrong-{number}", labels={LABEL: "one"}))
        wrong["spec"]["serviceAccountName"] = "default"
        mallory.create(wrong)
        mallory.delete(wrong, gracePeriodSeconds="0")  # the next one is another's refusal


def changes_what_a_task_is_for(stage: Stage, mallory: Api) -> None:
    make(mallory, "one")
    for number in range(ROUNDS):
        mallory.merge(in_flood(task("one")), {"spec": {"intent": {"goal": f"goal {number}"}}})


def makes_tasks_and_deletes_them(stage: Stage, mallory: Api) -> None:
    for number in range(ROUNDS // 2):
        make(mallory, f"short-{number}")
        mallory.delete(thing("v1", "Pod", FLOOD, f"short-{number}"), gracePeriodSeconds="0")
        mallory.delete(thing(GROUP, "AgentTask", FLOOD, f"short-{number}"))


@pytest.mark.parametrize(
    "flood",
    [
        says_savepoints, asks_for_what_is_denied, runs_pods_that_are_refused,
        changes_what_a_task_is_for, makes_tasks_and_deletes_them,
    ],
)  # fmt: skip
def test_a_tenant_fills_its_own_budget_and_keeps_nobody_waiting(
    stage: Stage, name: str, mallory: Api, flood: Callable[[Stage, Api], None]
) -> None:
    stage.begin_ready(name)
    entries = stage.operator.metric("taskpass_ledger_entries")

    flood(stage, mallory)

    until(lambda: stage.operator.metric("taskpass_held_back_total") > 0, said=stage.operator.tail)
    assert refused_after(stage, name) < WITHIN_SECONDS
    until(lambda: stage.operator.metric("taskpass_queue_length") == 0, 60, stage.operator.tail)
    # At the price of the cheapest entry, with what ends it.
    assert stage.operator.metric("taskpass_ledger_entries") - entries < 96 * 1024 / 200


def test_who_has_used_up_its_budget_is_told_and_its_end_is_recorded(
    stage: Stage, mallory: Api
) -> None:
    says_savepoints(stage, mallory)

    def throttled() -> str:
        live = mallory.get("AgentTask", FLOOD, "one").get("status", {})
        found = condition(live, "Throttled")
        return str(found.get("message", "")) if found.get("status") == "True" else ""

    assert "has used up its budget" in until(throttled, said=stage.operator.tail)
    mallory.delete(thing("v1", "Pod", FLOOD, "one"), gracePeriodSeconds="0")
    mallory.delete(thing(GROUP, "AgentTask", FLOOD, "one"))

    def gone() -> bool:
        try:
            mallory.get("AgentTask", FLOOD, "one")
        except Refused as refused:
            return refused.status == 404
        return False

    until(gone, said=stage.operator.tail)
