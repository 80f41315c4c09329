"""Workloads of agents: stamps at creation, at an update and by way of the status; and warnings."""
# fmt: off

from typing import Any

from e2e.admission import LABEL, TENANT
from e2e.foreign_kinds import KINDS
from e2e.impersonate import Object, thing
from e2e.mutations.forger import forged
from e2e.mutations.rows import Table
from e2e.mutations.workloads import (
    CLAIMED,
    CROWDS,
    FOR_TEMPLATES,
    GROUPS,
    agents,
    change_of,
    label_change,
    owned,
)

CREATOR = "must say who created this and for which owner"
CHANGERS = "must name all who created or changed the spec"
REPLICA_SET = "the pod template of a ReplicaSet"
LABELS_OF_JOB = "labels of taskpass in the pod template of a Job"
STRATEGY = "the strategy of a Deployment"
MANY = "must be at most 1"
FORGERIES = (("created_by", CREATOR), ("created_for", CREATOR), ("changers", CHANGERS))
ROLLBACK = {"metadata": {"annotations": {"deprecated.deployment.rollback.to": "1"}}}


def noted(annotations: dict[str, str]) -> Object:
    return {"metadata": {"annotations": annotations}}


def claiming(each: Object, **metadata: Any) -> Object:
    return {**each, "metadata": {**each["metadata"], **metadata}}


def workloads(t: Table) -> None:
    """Add the rows on workloads."""
    above, beside = t.stage.live["CronJob"], t.stage.live["job"]
    for kind in GROUPS:
        new, plain = agents(kind, "new"), f"{kind} without label"
        t.create("alice", "with stamps of its own", claiming(new, annotations=CLAIMED))
        t.create("alice", "without our label", claiming(agents(kind, "new", labels={}), annotations=CLAIMED))
        t.create("alice", "of a template", agents(kind, "new", labels={FOR_TEMPLATES: "live"}))
        t.create("mallory", "for an owner", claiming(new, ownerReferences=[owned(beside, controller=False), owned(above)]))
        t.create("mallory", "for no controller", claiming(new, ownerReferences=[owned(beside, controller=False)]))
        t.merge("mallory", "its spec", kind, {"spec": change_of(kind)})
        t.merge("alice", "its spec, once more", kind, {"spec": change_of(kind)})
        t.merge("mallory", "a label", kind, {"metadata": {"labels": {"a": "b"}}})
        t.merge("mallory", "stamps", kind, noted(CLAIMED))
        t.merge("mallory", "a rollback", kind, ROLLBACK)
        t.merge("mallory", "our label is gone", kind, {"spec": label_change(kind, None), **noted(CLAIMED)})
        t.merge("mallory", "our label where there was none", plain, {"spec": label_change(kind, "live"), **noted(CLAIMED)})
        t.merge("mallory", "stamps where our label is not", plain, noted(CLAIMED))
        t.merge("mallory", "stamps", kind, noted(CLAIMED), "", "status")
        t.merge("mallory", "its spec, by its status", kind, {"spec": change_of(kind)}, "", "status")
        t.merge("mallory", "a rollback, by its status", kind, ROLLBACK, "", "status")
        for stamp, answer in FORGERIES:
            after = forged(**{stamp: "x"})
            t.create("alice", f"with another {stamp} put after ours", claiming(new, annotations=after), answer)
            t.merge("alice", f"another {stamp} put after ours", kind, noted(after), answer)
            # The API server lets the status of a custom resource change none of its metadata.
            t.merge("alice", f"another {stamp} put after ours", kind, noted(after), "" if kind in KINDS else answer, "status")
        t.merge("mallory", "our label is gone, and another changers put after ours", kind, {"spec": label_change(kind, None), **noted(forged(changers="x"))}, CHANGERS)
        early = f"early {kind}"
        t.merge("mallory", "its spec, where it was made before the chart", early, {"spec": change_of(kind)})
        t.merge("mallory", "a label, where it was made before the chart", early, {"metadata": {"labels": {"a": "b"}}})
        t.merge("mallory", "what was seen, where it was made before the chart", early, {"status": {"observedGeneration": 1}}, "", "status")
    own = '"alice"\n"mallory"'
    t.merge("mallory", "her own name more", "Deployment", noted(forged(changers=own)))
    t.merge("mallory", "its spec, and its changers put after ours", "Deployment", {"spec": change_of("Deployment"), **noted(forged(changers='"alice"'))}, CHANGERS)
    for crowd in CROWDS:
        t.merge("mallory", "its spec", crowd, {"spec": {"anything": "else"}})
        t.merge("admin", "its spec, by who is in it", crowd, {"spec": {"anything": "else"}})


def made_by_controllers(t: Table) -> None:
    """Add the rows on what a controller made for somebody."""
    note = {"spec": {"template": noted({"a": "b"})}}
    t.merge("mallory", "the template", "made ReplicaSet", note, REPLICA_SET)
    t.merge("deployment controller", "the template", "made ReplicaSet", note)
    t.merge("mallory", "its spec", "made ReplicaSet", {"spec": {"minReadySeconds": 3}})
    t.merge("mallory", "the template, by its status", "made ReplicaSet", note, "", "status")
    t.merge("mallory", "the template of what was made for nobody", "ReplicaSet", note)
    t.merge("mallory", "the template", "made StatefulSet", note)
    for label in (LABEL, FOR_TEMPLATES):
        other = {"spec": {"template": {"metadata": {"labels": {label: "other"}}}}}
        t.merge("mallory", f"the label {label}", "made Job", other, LABELS_OF_JOB)
        t.merge("cronjob controller", f"the label {label}", "made Job", other)
        t.merge("mallory", f"the label {label} of what was made for nobody", "Job", other)
        t.merge("mallory", f"the label {label}", "made StatefulSet", other)
    t.merge("mallory", "another label", "made Job", {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}})
    t.merge("mallory", "the template", "made Job", note)


def revisions(t: Table) -> None:
    """Add the rows on revisions of StatefulSets."""
    for what, labels, answer in (
        ("of agents", {LABEL: "live", "app": "a"}, "must be created by that workload's controller"),
        ("of agents of a template", {FOR_TEMPLATES: "live", "app": "a"}, "must be created by that workload's controller"),
        ("of others", {"app": "a"}, ""), ("without labels", {}, ""),
    ):  # fmt: skip
        body = thing("apps/v1", "ControllerRevision", TENANT, "new", revision=1, data={"spec": {"template": {"metadata": {"labels": labels}}}})
        t.create("mallory", what, body, answer)
        t.create("statefulset controller", what, body)


def replicas(t: Table) -> None:
    """Add the rows on what is warned of."""
    above, beside = owned(t.stage.live["CronJob"]), owned(t.stage.live["job"], controller=False)
    rolling: Object = {"strategy": {"type": "RollingUpdate"}}
    t.create("alice", "that rolls", agents("Deployment", "new", **rolling), warning=STRATEGY)
    for kind in ("Deployment", "StatefulSet", "ReplicaSet", "Job"):
        field = "parallelism" if kind == "Job" else "replicas"
        more: Object = {field: 2}
        two, one = agents(kind, "new", **more), agents(kind, "new", **{**more, field: 1})
        t.create("alice", "of one", one)
        t.create("alice", "of two", two, warning=MANY)
        t.create("alice", "of two, made by a controller", claiming(two, ownerReferences=[beside, above]))
        t.create("alice", "of two, made for no controller", claiming(two, ownerReferences=[beside]), warning=MANY)
        t.create("alice", "of two, without our label", agents(kind, "new", labels={}, **more))
        t.create("alice", "of two, of a template", agents(kind, "new", labels={FOR_TEMPLATES: "live"}, **more))
        if kind != "Job":
            t.merge("alice", "two", kind, {"spec": {"replicas": 2}}, warning=MANY)
