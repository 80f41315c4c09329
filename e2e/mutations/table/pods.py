"""Pods: what admission makes of them, what may change, and those of templates."""
# fmt: off

from e2e.admission import GATE, LABEL, TENANT, pod, volume
from e2e.impersonate import thing
from e2e.mutations.forger import forged
from e2e.mutations.rows import Table, one
from e2e.mutations.table.parts import (
    STAMP,
    containers,
    env,
    gated,
    image,
    own,
    owner,
    renamed,
    sources,
)


def pods(t: Table) -> None:
    """Add the rows on pods."""
    t.create("alice", "with the label alone", pod("new"))
    t.create("alice", "with two kinds of containers", pod("new", spec=containers()))
    t.create("alice", "with gates, volumes and mounts of its own", pod("new", spec=own()))
    t.create("alice", "without the label", pod("new", labelled=False))
    t.create("alice", "with a stamp of its own", pod("new", annotations=STAMP))
    t.create("job controller", "with the label", pod("new"))
    for stamp in ("created_by", "created_for"):
        said = f"the annotation taskpass.dev/{stamp.replace('_', '-')} must say"
        t.create("alice", f"with another {stamp} put after ours", pod("new", annotations=forged(**{stamp: "x"})), said)
    t.create("alice", "with a label that is no name", pod("new", labels={LABEL: "No_Name"}), "must be the name")
    t.create("alice", "with an empty label", pod("new", labels={LABEL: ""}), "must be the name")
    t.create("alice", "with the volume and without the gate", pod("new", spec={"volumes": [volume("new")]}), "must have the scheduling gate")
    t.create("alice", "with the gate and without the volume", pod("new", spec=gated()), "must have a volume")
    t.create("alice", "with both", pod("new", spec=gated(volume("new"))))
    t.create("alice", "with another task's Secret", pod("new", spec=gated(volume("other"))), "must")
    t.create("alice", "with another audience", pod("new", spec=gated(volume("new", audience="other"))), "must have a volume")
    t.create("alice", "with the Secret alone", pod("new", spec=gated(sources("new", token=False))), "must have a volume")
    t.create("alice", "with the token alone", pod("new", spec=gated(sources("new", secret=False))), "must have a volume")
    t.create("alice", "with a Secret that must be there", pod("new", spec=gated(sources("new", optional=False))), "must have a volume")
    t.create("alice", "with a token of an hour", pod("new", spec=gated(volume("new", seconds=3600))))
    t.create("alice", "with a token of more than an hour", pod("new", spec=gated(volume("new", seconds=3601))), "at most 3600")
    t.create("alice", "with a second, longer token", pod("new", spec=gated(volume("new"), renamed(volume("new", seconds=7200)))), "must")
    t.create("alice", "that lists its container", pod("new", annotations={"taskpass.dev/containers": "agent"}))
    t.create("alice", "that lists one of two", pod("new", spec=containers(), annotations={"taskpass.dev/containers": "agent, first"}))
    t.create("alice", "that lists a container that is not there", pod("new", annotations={"taskpass.dev/containers": "agnet"}), "must list")
    for sub in ("", "status"):
        t.merge("alice", "a label more", "pod", {"metadata": {"labels": {"a": "b"}}}, "the labels of a pod" if not sub else "forbidden", sub)
        t.merge("admin", "a label more", "pod", {"metadata": {"labels": {"a": "b"}}}, "the labels of a pod", sub)
        t.merge("admin", "another task's label", "pod", {"metadata": {"labels": {LABEL: "other"}}}, "must not change", sub)
        t.merge("admin", "no label", "pod", {"metadata": {"labels": {LABEL: None}}}, "must", sub)
        t.merge("admin", "the label where there was none", "pod without label", {"metadata": {"labels": {LABEL: "live"}}}, "must be there when", sub)
        t.merge("admin", "another stamp", "pod", {"metadata": {"annotations": STAMP}}, "must not change", sub)
        t.merge("admin", "other containers with files", "pod", {"metadata": {"annotations": {"taskpass.dev/containers": "agent"}}}, "must not change", sub)
        t.merge("admin", "an annotation of others", "pod", {"metadata": {"annotations": {"a": "b"}}}, "", sub)
    t.merge("admin", "what was seen", "pod", {"status": {"message": "seen"}}, "", "status")
    t.json("alice", "another image", "pod", [image("containers")], "containers and images")
    t.json("alice", "another image of the first container", "pod with a first container", [image("initContainers")], "containers and images")
    t.json("alice", "another image of what is not ours", "pod without label", [image("containers")])
    t.json("alice", "the gate is lifted", "pod", [{"op": "remove", "path": "/spec/schedulingGates"}], "must be left to taskpass")
    t.merge("admin", "an annotation of others, once it runs", "running pod", {"metadata": {"annotations": {"a": "b"}}})
    t.merge("alice", "an annotation of others, where it was made before the chart", "early pod", {"metadata": {"annotations": {"a": "b"}}})
    t.json("operator", "the gate is lifted", "pod", [{"op": "remove", "path": "/spec/schedulingGates"}])
    t.merge("operator", "its annotation", "pod", {"metadata": {"annotations": {"taskpass.dev/credentials-version": "1"}}})
    t.merge("operator", "another annotation", "pod", {"metadata": {"annotations": {"a": "b"}}}, "metadata but the annotation")
    t.merge("operator", "the stamp", "pod", {"metadata": {"annotations": STAMP}}, "must")
    t.merge("operator", "the stamp is gone", "pod", {"metadata": {"annotations": {"taskpass.dev/created-by": None}}}, "must")
    t.merge("operator", "a finalizer", "pod", {"metadata": {"finalizers": ["a.example/b"]}}, "metadata but the annotation")
    t.merge("operator", "an owner", "pod", {"metadata": {"ownerReferences": [owner("live")]}}, "metadata but the annotation")
    t.json("operator", "another image", "pod", [image("containers")], "must")
    t.merge("operator", "a deadline", "pod", {"spec": {"activeDeadlineSeconds": 9}}, "spec but the scheduling gate")
    t.merge("operator", "another's pod", "pod without label", {"metadata": {"annotations": {"taskpass.dev/credentials-version": "1"}}}, "with the label")
    t.merge("operator", "another's pod, with labels of others", "pod on the node", {"metadata": {"annotations": {"taskpass.dev/credentials-version": "1"}}}, "with the label")
    rich = "pod with things of others"
    for who, answer in (("alice", ""), ("operator", "spec but the scheduling gate")):
        t.merge(who, "another's gate is lifted", rich, {"spec": {"schedulingGates": [{"name": GATE}]}}, answer)
        t.merge(who, "an affinity is gone", rich, {"spec": {"affinity": None}}, answer)
    for who, answer in (("alice", ""), ("operator", "metadata but the annotation")):
        t.merge(who, "an annotation of others is gone", rich, {"metadata": {"annotations": {"a.example/b": None}}}, answer)
    t.merge("operator", "the gate is lifted, and another's stays", rich, {"spec": {"schedulingGates": [{"name": "example.com/other"}]}})
    t.create("operator", "a pod", pod("new"), "the operator must")
    t.delete("operator", "a pod", "pod", "the operator must")
    t.delete("alice", "a pod", "pod")
    t.merge("alice", "a finalizer", "pod", {"metadata": {"finalizers": ["a.example/b"]}})
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "localhost/debug:1"}]}}
    t.merge("admin", "a debug container", "pod", debug, "containers and images", "ephemeralcontainers")
    t.merge("admin", "a debug container in another pod", "pod without label", debug, "", "ephemeralcontainers")
    reading = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "localhost/debug:1", **env("taskpass-live")}]}}
    t.merge("admin", "a debug container that reads the Secret", "pod without label", reading, "must not refer", "ephemeralcontainers")
    for name, metadata in (("labels", {"labels": {LABEL: "live"}}), ("annotations", {"annotations": STAMP}), ("a label beside others", {"labels": {"a": "b", LABEL: "live"}}), ("an annotation beside others", {"annotations": {"a": "b", **STAMP}}), ("others", {"labels": {"a": "b"}, "annotations": {"a": "b"}})):
        bound = thing("v1", "Pod", TENANT, "plain") | {"kind": "Pod"}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "plain", **metadata}, "target": {"kind": "Node", "name": "n1"}}
        answer = "" if name == "others" else "a Binding must not carry"
        t.add("admin", "create", "Pod", "binding", f"with {name}", one(bound) + "/binding", body, "application/json", answer)
        t.add("admin", "create", "Binding", "", f"with {name}", f"/api/v1/namespaces/{TENANT}/bindings", body, "application/json", answer)


def templates(t: Table) -> None:
    """Add the rows on templates."""
    owners = [{"apiVersion": "batch/v1", "kind": "Job", "name": "live", "uid": t.stage.live["job"]["metadata"]["uid"], "controller": True}]
    labels = {"taskpass.dev/task-template": "live"}
    t.create("job controller", "of a template", pod("new", labelled=False, labels=labels, owners=owners))
    t.create("job controller", "of a template, with more containers", pod("new", labelled=False, labels=labels, owners=owners, spec=containers()))
    t.create("job controller", "of a template, with things of its own", pod("new", labelled=False, labels=labels, owners=owners, spec=own()))
    t.create("job controller", "of a template, that lists a container", pod("new", labelled=False, labels=labels, owners=owners, spec=containers(), annotations={"taskpass.dev/containers": "agent"}))
    t.create("job controller", "of a template, with the gate", pod("new", labelled=False, labels=labels, owners=owners, spec={"schedulingGates": gated()["schedulingGates"]}), "must be made by a Job")
    t.create("job controller", "of a template, with the volume", pod("new", labelled=False, labels=labels, owners=owners, spec={"volumes": [{"name": "taskpass", "emptyDir": {}}]}), "must be made by a Job")
    t.create("job controller", "of a template, with all of it", pod("new", labels={**labels, LABEL: "live"}, owners=owners, spec=gated(volume("live"))))
    beside = {**owners[0], "apiVersion": "example.com/v1", "name": "beside", "controller": False}
    t.create("job controller", "of a template, with another owner", pod("new", labelled=False, labels=labels, owners=[beside, *owners]))
    beside = {**owners[0], "name": "beside", "controller": False}
    t.create("alice", "of a template, with another Job beside its own", pod("new", labelled=False, labels=labels, owners=[beside, *owners]))
    # Two policies refuse what a mutant makes of these: which of them says so is chance.
    t.create("alice", "of a template and no Job's", pod("new", labelled=False, labels=labels), "must be")
    for change in ({"kind": "ReplicaSet", "apiVersion": "apps/v1"}, {"controller": False}, {"apiVersion": "example.com/v1"}):
        t.create("alice", f"of a template, whose owner is {change}", pod("new", labelled=False, labels=labels, owners=[{**owners[0], **change}]), "must be")
    t.create("alice", "of a template, with another task's label", pod("new", labels={**labels, LABEL: "other"}, owners=owners), "must")
