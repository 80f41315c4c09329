"""Tasks and templates, and the kinds of the cluster."""
# fmt: off

from typing import Any

from e2e.admission import TENANT, task
from e2e.impersonate import Object
from e2e.mutations.forger import FINALIZERS, forged_spec
from e2e.mutations.rows import Table
from e2e.mutations.stage import (
    FREE,
    KEPT,
    MANY_CLASSES,
    approval,
    credential_class,
    switch,
)
from e2e.mutations.table.parts import FORGED, marked


def tasks(t: Table) -> None:
    """Add the rows on tasks."""
    for kind in ("AgentTask", "AgentTaskTemplate"):
        def new(name: str = "new", kind: str = kind, **rest: Any) -> Object:
            return {**task(name, **rest), "kind": kind}
        live = "task" if kind == "AgentTask" else "template"
        t.create("alice", "of a class that they may use", new())
        t.create("mallory", "of a class that they may not use", new(), "must be allowed to use")
        t.create("mallory", "of a class that all may use", new(credentials=FREE))
        phases = [{"name": "one", "credentials": task("new")["spec"]["credentials"]}]
        t.create("mallory", "of a class in a phase", new(credentials=FREE, phases=phases, phase="one"), "must be allowed to use")
        many = [{**task("new")["spec"]["credentials"][0], "name": f"c{i}", "classRef": {"name": f"class-{i}"}} for i in range(16)]
        t.create("alice", "of sixteen classes", new(credentials=many), "must be allowed to use")
        t.create("admin", "of sixteen classes", new(credentials=many))
        t.create("alice", "with stamps of their own", new(requester=FORGED, changedBy=FORGED, changers=["root"]))
        is_task = kind == "AgentTask"
        reference = {"name": "live", "uid": "1"}
        t.create("alice", "of a template", new(templateRef=reference), "must be left to taskpass" if is_task else "")
        t.create("agent", "by an agent", new(), "forbidden")
        t.merge("mallory", "nothing new", live, {"spec": {"intent": {"goal": "other"}}})
        t.merge("mallory", "one credential more", live, {"spec": {"credentials": [*task("x")["spec"]["credentials"], {**task("x")["spec"]["credentials"][0], "name": "more"}]}}, "must be allowed to use")
        t.merge("alice", "whose it is", live, {"spec": {"requester": FORGED}})
        t.merge("alice", "who changed it", live, {"spec": {"changedBy": FORGED}})
        t.merge("alice", "all who did", live, {"spec": {"changers": []}})
        t.merge("alice", "of a template", live, {"spec": {"templateRef": reference}}, "must" if is_task else "")
        t.merge("mallory", "a savepoint", live, {"metadata": {"annotations": {"taskpass.dev/savepoint": "sorted sha256:" + "0" * 64}}})
        t.merge("mallory", "no savepoint", live, {"metadata": {"annotations": {"taskpass.dev/savepoint": "sorted"}}}, "a step's name and a digest")
        t.merge("mallory", "an empty savepoint", live, {"metadata": {"annotations": {"taskpass.dev/savepoint": ""}}})
        t.merge("mallory", "that it is active", live, {"metadata": {"annotations": {"taskpass.dev/active": "x" * 64}}})
        t.merge("mallory", "too much of that", live, {"metadata": {"annotations": {"taskpass.dev/active": "x" * 65}}}, "at most 64 characters")
        t.merge("admin", "status", live, {"status": {"observedGeneration": 1}}, "status must be left to taskpass", "status")
        t.merge("operator", "status", live, {"status": {"observedGeneration": 1}}, "", "status")
        t.create("alice", "without a spec", {k: v for k, v in new().items() if k != "spec"}, "Required value")
        for fields in (("requester",), ("changedBy",), ("changers",)):
            said = f"spec.{fields[0]} must be"
            t.create("alice", f"with {fields} put after ours", marked(new(), forged_spec(*fields)), said)
            t.merge("alice", f"{fields} put after ours", live, {"metadata": {"annotations": forged_spec(*fields)}}, said)
    t.create("operator", "a template, with stamps of its own", {**task("new", requester=FORGED, changedBy=FORGED), "kind": "AgentTaskTemplate"})
    for field in ("requester", "changedBy"):
        forging = {**task("new", credentials=FREE), "kind": "AgentTaskTemplate"}
        t.create("operator", f"a template, with {field} put after ours", marked(forging, forged_spec(field)), f"spec.{field} must be")
    t.merge("operator", "a template, one class more", "template", {"spec": {"credentials": [*task("x")["spec"]["credentials"], {**FREE[0], "classRef": {"name": "never"}}]}}, "must be allowed to use")
    for count in range(1, 17):
        may = [{**FREE[0], "name": f"c{i}", "classRef": {"name": MANY_CLASSES[i]}} for i in range(count)]
        may_not = [*may[:-1], {**may[-1], "classRef": {"name": "never"}}]
        t.create("modest", f"of {count} classes", task("new", credentials=may))
        t.create("modest", f"of {count} classes, and may not use the last", task("new", credentials=may_not), "must be allowed to use")
    later = [{"name": "one", "credentials": [{**may[0], "name": "later", "classRef": {"name": MANY_CLASSES[16]}}]}]
    t.create("modest", "of one class too many", task("new", credentials=may, phases=later, phase="one"), "at most 16 different")
    t.create("alice", "whose finalizers are taken off after ours", marked(task("new"), {FINALIZERS: ""}), "must have the finalizer")
    t.merge("mallory", "that it is somebody else's", "free", {"spec": {"requester": FORGED}})
    t.merge("mallory", "what it is for", "free", {"spec": {"intent": {"goal": "other"}}})
    t.merge("mallory", "that it is for nothing", "free", {"spec": {"intent": None}})
    t.merge("mallory", "what it is for, and no finalizer", "free", {"spec": {"intent": {"goal": "other"}}, "metadata": {"finalizers": None}})
    t.merge("mallory", "as one of 32", "task of 31 changers", {"spec": {"intent": {"goal": "other"}}})
    t.merge("mallory", "as one of 33", "task of 32 changers", {"spec": {"intent": {"goal": "other"}}}, "must have at most 32 items")
    t.merge("admin", "as one who did before", "task of 32 changers", {"spec": {"intent": {"goal": "other"}}})
    t.create("alice", "with a finalizer of their own", task("new") | {"metadata": {"name": "new", "namespace": TENANT, "finalizers": ["a.example/b"]}})
    t.create("alice", "with ours", task("new") | {"metadata": {"name": "new", "namespace": TENANT, "finalizers": ["taskpass.dev/revoke"]}})
    t.merge("alice", "the finalizer is gone", "task", {"metadata": {"finalizers": None}})
    t.merge("mallory", "another phase", "phased", {"spec": {"phase": "two"}}, "")
    t.merge("alice", "another phase", "phased", {"spec": {"phase": "two"}}, "")
    t.create("mallory", "below a task", task("new", credentials=FREE, parentRef={"name": "live"}), "must be made and changed by the pod")
    t.create("admin", "below a task, by who may delegate", task("new", credentials=FREE, parentRef={"name": "live"}))
    t.merge("mallory", "what a task below it is for", "child", {"spec": {"intent": {"goal": "other"}}}, "must be made and changed by the pod")
    t.merge("mallory", "another thing that a task below it is for", "whole child", {"spec": {"intent": {"goal": "other"}}}, "must be made and changed by the pod")
    t.merge("mallory", "nothing that a task below it is for", "whole child", {"spec": {"intent": None}}, "must be made and changed by the pod")
    t.create("parent's pod", "below a task", task("new", credentials=FREE, parentRef={"name": "live"}))
    t.merge("parent's pod", "what a task below it is for", "child", {"spec": {"intent": {"goal": "other"}}})
    t.create("parent's pod", "for itself", task("new", credentials=FREE))
    t.merge("mallory", "an annotation of a task below it", "child", {"metadata": {"annotations": {"a": "b"}}})
    made = task("live", requester=FORGED, changedBy=FORGED, templateRef={"name": "live", "uid": "1"}, agent={"serviceAccountName": "triage-agent", "workloadRef": {"apiGroup": "batch", "kind": "Job", "name": "new"}})
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "new", "uid": "1"}
    made = {**made, "metadata": {"name": "new", "namespace": TENANT, "ownerReferences": [owner]}}
    t.create("operator", "for a Job", made)
    for field in ("templateRef", "requester", "changedBy"):
        without = {**made, "spec": {k: v for k, v in made["spec"].items() if k != field}}
        t.create("operator", f"for a Job, without {field}", without, "must")
    t.create("operator", "for a Job of another name", {**made, "metadata": {**made["metadata"], "name": "another"}}, "make none but from a template")
    renamed = {**made, "metadata": {**made["metadata"], "name": "another", "ownerReferences": [{**owner, "name": "another"}]}}
    t.create("operator", "for a Job whose workloadRef is another", renamed, "make none but from a template")
    t.create("operator", "for a Job that does not own it", {**made, "metadata": {"name": "new", "namespace": TENANT}}, "make none but from a template")
    for change in ({"kind": "Pod", "apiVersion": "v1"}, {"name": "another"}):
        t.create("operator", f"whose owner is {change}", {**made, "metadata": {**made["metadata"], "ownerReferences": [{**owner, **change}]}}, "make none but from a template")
    deployment = {"apiGroup": "apps", "kind": "Deployment", "name": "new"}
    t.create("operator", "for a Deployment", {**made, "spec": {**made["spec"], "agent": {**made["spec"]["agent"], "workloadRef": deployment}}}, "make none but from a template")
    t.merge("operator", "its finalizer is gone", "task", {"metadata": {"finalizers": None}})
    t.merge("operator", "its finalizer is gone, where it was made before the chart", "early task", {"metadata": {"finalizers": None}})
    t.merge("operator", "another finalizer", "task", {"metadata": {"finalizers": ["taskpass.dev/revoke", "a.example/b"]}}, "but its finalizer")
    t.merge("operator", "a label", "task", {"metadata": {"labels": {"a": "b"}}}, "but its finalizer")
    t.merge("operator", "an annotation", "task", {"metadata": {"annotations": {"a": "b"}}}, "but its finalizer")
    t.merge("operator", "an owner", "task", {"metadata": {"ownerReferences": [owner]}}, "but its finalizer")
    t.merge("operator", "what it is for", "task", {"spec": {"intent": {"goal": "other"}}}, "but its finalizer")
    t.delete("operator", "one that goes on", "task", "finished AgentTasks only")
    t.delete("operator", "one that is ready", "ready", "finished AgentTasks only")
    t.merge("operator", "its finalizer is gone, and another stays", "kept", {"metadata": {"finalizers": KEPT}})
    t.merge("operator", "the other finalizer is gone", "kept", {"metadata": {"finalizers": ["taskpass.dev/revoke"]}}, "but its finalizer")
    t.delete("operator", "one that is over", "finished")
    t.delete("alice", "one that goes on", "task")


def kinds(t: Table) -> None:
    """Add the rows on kinds."""
    t.create("admin", "a class", credential_class("new"))
    t.create("admin", "a class with a finalizer", {**credential_class("new"), "metadata": {"name": "new", "finalizers": ["a.example/b"]}})
    t.merge("admin", "a class changes", "class", {"spec": {"sensitivity": "Restricted"}})
    t.merge("admin", "the finalizer of a class is gone", "class", {"metadata": {"finalizers": None}})
    t.merge("operator", "the finalizer of a class is gone", "class", {"metadata": {"finalizers": None}})
    t.merge("operator", "what a class gives", "class", {"spec": {"sensitivity": "Restricted"}}, "but its finalizer")
    t.merge("operator", "a label of a class", "class", {"metadata": {"labels": {"a": "b"}}}, "but its finalizer")
    t.merge("operator", "a finalizer more of a class", "class", {"metadata": {"finalizers": ["taskpass.dev/revoke", *KEPT]}}, "but its finalizer")
    t.merge("operator", "its finalizer of a class is gone, and another stays", "kept class", {"metadata": {"finalizers": KEPT}})
    t.merge("operator", "the other finalizer of a class is gone", "kept class", {"metadata": {"finalizers": ["taskpass.dev/revoke"]}}, "but its finalizer")
    t.merge("admin", "a class that has no finalizer changes", "bare class", {"spec": {"sensitivity": "Restricted"}})
    t.merge("admin", "a label of a class that has no finalizer", "bare class", {"metadata": {"labels": {"a": "b"}}})
    t.merge("admin", "a class that goes changes", "going class", {"spec": {"sensitivity": "Restricted"}})
    t.create("operator", "a class", credential_class("new"), "but its finalizer")
    t.delete("operator", "a class", "class", "but its finalizer")
    t.delete("admin", "a class", "class")
    for make, who in ((switch, "admin"), (approval, "admin")):
        t.create(who, "with the right stamp", make("new"))
        forged = make("new")
        field = "requester" if make is switch else "approver"
        t.create(who, "with a stamp of their own", {**forged, "spec": {**forged["spec"], field: FORGED}})
        t.create(who, "with another stamp put after ours", marked(forged, forged_spec(field)), f"spec.{field} must be")
        t.create(who, "without a spec", {k: v for k, v in forged.items() if k != "spec"}, "Required value")
    for live in ("class", "switch", "approval", "policy", "cluster policy"):
        status: Object = {"status": {"conditions": []}}
        t.merge("admin", "status", live, status, "status must be left to taskpass", "status")
        t.merge("operator", "status", live, status, "", "status")
    t.merge("admin", "the log's memory", "anchor", {"status": {"conditions": []}}, "status must be left to taskpass", "status")
