"""Which pod is which task's, as it is kept in memory."""

from taskpass.core.lifecycle.records import PodBinding
from taskpass.ledger.state.bindings import Bindings


def binding(number: int, *, task: str = "task-uid-1", name: str = "pod") -> PodBinding:
    return PodBinding(pod_uid=f"pod-{number}", task_uid=task, namespace="support", name=name)


def of(*bound: PodBinding) -> Bindings:
    made = Bindings()
    for each in bound:
        made.bind(each)
    return made


def test_a_pod_that_is_bound_stays_with_its_task_and_behind_its_gate_until_that_is_lifted() -> None:
    bindings = of(binding(1))
    bindings.bind(binding(1, task="task-uid-2"), lifted=True)

    assert (bindings.task_of("pod-1"), bindings.is_lifted("pod-1")) == ("task-uid-1", False)
    bindings.lift("pod-1")
    assert bindings.is_lifted("pod-1")


def test_a_pod_that_was_dropped_or_never_bound_is_nobodys() -> None:
    bindings = of(binding(1))
    bindings.drop("pod-1")
    bindings.lift("pod-1")

    assert (bindings.task_of("pod-1"), bindings.is_lifted("pod-1"), list(bindings)) == (
        None, False, [],
    )  # fmt: skip


def test_leftovers_are_of_tasks_that_are_not_known_in_order_and_have_a_place() -> None:
    bindings = of(*map(binding, (3, 1, 2)), binding(4, task="known"), binding(5, name=""))

    assert [b.pod_uid for b in bindings.leftovers("", 2, {"known"})] == ["pod-1", "pod-2"]
    assert [b.pod_uid for b in bindings.leftovers("pod-2", 2, {"known"})] == ["pod-3"]


def test_a_copy_goes_its_own_way() -> None:
    bindings = of(binding(1))
    copy = bindings.copy()
    copy.lift("pod-1")
    copy.bind(binding(2))

    assert (bindings.is_lifted("pod-1"), bindings.task_of("pod-2")) == (False, None)
