"""`taskpass tree`: how a family is drawn."""

from typing import Any

from taskpass.cli.tree import drawn


def a_task(parent: str = "", *, held: tuple[str, ...] = (), ready: str = "Ready") -> dict[str, Any]:
    spec: dict[str, Any] = {"agent": {"serviceAccountName": "triage-agent"}}
    if parent:
        spec["parentRef"] = {"name": parent}
    status: dict[str, Any] = {
        "conditions": [{"type": "Ready", "reason": ready}],
        "grants": [{"name": name} for name in held],
    }
    if held:
        status["expirationTime"] = "2027-03-01T12:15:00Z"
    return {"spec": spec, "status": status}


def test_the_whole_family_is_drawn_from_its_root_and_the_task_is_marked() -> None:
    tasks = {
        "root": a_task(held=("tickets", "kb")),
        "b": a_task("root", held=("part",)),
        "a": a_task("root", ready="ParentNotReady"),
        "leaf": a_task("a", ready="Suspended"),
        "other": a_task(),
    }

    assert list(drawn(tasks, "a")) == [
        "root  triage-agent, Ready: holds kb, tickets until 2027-03-01T12:15:00Z",
        "├─ a*  triage-agent, ParentNotReady: holds nothing",
        "│  └─ leaf  triage-agent, Suspended: holds nothing",
        "└─ b  triage-agent, Ready: holds part until 2027-03-01T12:15:00Z",
    ]


def test_a_parent_that_is_not_there_is_said() -> None:
    tasks = {"child": {"spec": a_task("root")["spec"]}}

    assert list(drawn(tasks, "child")) == [
        "(root is not there)",
        "child*  triage-agent, not looked at yet",
    ]


def test_a_circle_is_drawn_once() -> None:
    tasks = {"a": a_task("b"), "b": a_task("a")}

    lines = list(drawn(tasks, "a"))

    assert [line.partition("  triage")[0].strip("└─ *") for line in lines] == ["b", "a", "b"]
