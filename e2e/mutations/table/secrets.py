"""Secrets of tasks: who refers to them, who makes, changes and deletes them."""
# fmt: off

from e2e.admission import SYSTEM, container, pod, secret
from e2e.impersonate import Object, path_of
from e2e.mutations.rows import Table
from e2e.mutations.table.parts import OURS, env, owner


def references(t: Table) -> None:
    """Add the rows on references."""
    stolen = "taskpass-other"
    ref = {"name": stolen}
    volumes: Object = {
        "secret": {"secretName": stolen},
        "projected": {"sources": [{"secret": {"name": stolen}}]},
        "csi": {"driver": "secrets.example.com", "nodePublishSecretRef": ref},
        "azureFile": {"secretName": stolen, "shareName": "s"},
        "cephfs": {"monitors": ["m"], "secretRef": ref},
        "cinder": {"volumeID": "v", "secretRef": ref},
        "flexVolume": {"driver": "example.com/d", "secretRef": ref},
        "iscsi": {"targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.com.example:s", "lun": 0, "secretRef": ref},
        "rbd": {"monitors": ["m"], "image": "i", "secretRef": ref},
        "scaleIO": {"gateway": "https://g", "system": "s", "volumeName": "v", "secretRef": ref},
        "storageos": {"volumeName": "v", "volumeNamespace": "n", "secretRef": ref},
    }
    for kind, source in volumes.items():
        spec = {"volumes": [{"name": "v", kind: source}]}
        t.create("admin", f"a volume {kind} of a task's Secret", pod("new", labelled=False, spec=spec), "must not refer")
    for where in ("containers", "initContainers"):
        for how in (env(stolen), {"envFrom": [{"secretRef": ref}]}):
            spec = {where: [container("agent" if where == "containers" else "first", **how)]}
            t.create("admin", f"{where} with {next(iter(how))}", pod("new", labelled=False, spec=spec), "must not refer")
    t.create("admin", "imagePullSecrets", pod("new", labelled=False, spec={"imagePullSecrets": [ref]}), "must not refer")
    foreign = {"volumes": [{"name": "v", "secret": {"secretName": "foreign"}}], "imagePullSecrets": [{"name": "foreign"}], "containers": [container("agent", **env("foreign"))]}
    t.create("admin", "another's Secret in every way", pod("new", labelled=False, spec=foreign))
    again = {"name": "again", "projected": {"sources": [{"secret": {"name": "taskpass-new"}}]}}
    t.create("alice", "its own by another volume", pod("new", spec={"volumes": [again]}), "must not refer")
    ours = {"name": "taskpass", "projected": {"sources": [{"secret": {"name": stolen}}]}}
    t.create("alice", "under our name without the label", pod("new", labelled=False, spec={"volumes": [ours]}), "must not refer")


def secrets(t: Table) -> None:
    """Add the rows on secrets."""
    live = t.stage.live["task"]
    for who in ("alice", "garbage collector"):
        t.create(who, "of our type", secret("mine", type=OURS), "must be made by taskpass")
        t.create(who, "of our name", secret("taskpass-mine", type="Opaque"), "must not begin with")
    t.create("admin", "of our name, at home", secret("taskpass-mine", type="Opaque", namespace=SYSTEM))
    t.create("alice", "of another name and type", secret("mine", type="Opaque"))
    t.merge("alice", "what is in it", "secret", {"data": {"a": "eA=="}}, "must be changed by taskpass only")
    t.merge("alice", "that it never changes", "secret", {"immutable": True}, "must be changed by taskpass only")
    t.merge("alice", "a label", "secret", {"metadata": {"labels": {"a": "b"}}}, "must be changed by taskpass only")
    t.merge("alice", "an annotation", "secret", {"metadata": {"annotations": {"a": "b"}}}, "must be changed by taskpass only")
    t.merge("alice", "a finalizer", "secret", {"metadata": {"finalizers": ["a.example/b"]}}, "must not be added")
    t.merge("alice", "an owner", "secret", {"metadata": {"ownerReferences": [owner("live", live), owner("other")]}}, "must not be added")
    t.merge("alice", "its owner is gone", "secret", {"metadata": {"ownerReferences": None}}, "must not be changed")
    t.merge("alice", "nothing", "secret", {})
    t.merge("alice", "whose another is", "foreign secret", {"metadata": {"ownerReferences": [owner("live", live)]}})
    t.delete("alice", "a task's", "secret", "must be deleted by taskpass only")
    t.delete("admin", "a task's", "secret", "must be deleted by taskpass only")
    t.merge("garbage collector", "its owner is gone", "secret", {"metadata": {"ownerReferences": None}})
    t.merge("garbage collector", "nothing", "secret", {})
    t.merge("alice", "a finalizer of another", "foreign secret", {"metadata": {"finalizers": ["a.example/b"]}})
    t.merge("alice", "what is in another", "foreign secret", {"data": {"a": "eA=="}})
    other = t.stage.live["other task"]
    ours = secret("taskpass-other", owner=other)
    t.create("operator", "a task's", ours)
    t.create("operator", "of another type", secret("taskpass-other", owner=other, type="Opaque"), "the operator must write")
    t.create("operator", "that would be filled with a token", secret("taskpass-other", owner=other, type="kubernetes.io/service-account-token", annotations={"kubernetes.io/service-account.name": "triage-agent"}), "the operator must write")
    t.create("operator", "of another name", secret("mine", owner=other), "the operator must write")
    t.create("operator", "without an owner", secret("taskpass-other"), "as its one owner")
    t.create("operator", "of another task's name", secret("taskpass-live-2", owner=other), "as its one owner")
    two = {**ours, "metadata": {**ours["metadata"], "ownerReferences": [*ours["metadata"]["ownerReferences"], owner("live")]}}
    t.create("operator", "with two owners", two, "as its one owner")
    for change in ({"kind": "Pod"}, {"apiVersion": "v1"}):
        reference = {**ours["metadata"]["ownerReferences"][0], **change}
        t.create("operator", f"whose owner is {change}", {**ours, "metadata": {**ours["metadata"], "ownerReferences": [reference]}}, "as its one owner")
    t.create("operator", "its key", secret("taskpass-signing-key", namespace=SYSTEM, type="taskpass.dev/signing-key"))
    t.create("operator", "a key of another type", secret("taskpass-signing-key", namespace=SYSTEM, type="Opaque"), "the operator must write")
    t.create("operator", "another Secret at home", secret("another", namespace=SYSTEM, type="taskpass.dev/signing-key"), "the operator must write")
    t.merge("operator", "what is in a task's", "secret", {"data": {"a": "eA=="}})
    t.merge("operator", "whose it is", "secret", {"metadata": {"ownerReferences": [owner("live", other)]}}, "must")
    t.merge("operator", "another's", "foreign secret", {"data": {"a": "eA=="}}, "the operator must")
    t.delete("operator", "a task's", "secret")
    t.delete("operator", "a task's that has lost its owner", "orphan")
    t.delete("operator", "one that has our type and not our name", "secret of our type alone", "the operator must write Secrets of type")
    t.delete("admin", "a task's, where the operator may not", "secret elsewhere")
    t.add("admin", "delete", "Secret", "", "all of a namespace that has none", path_of("Secret", "served"), {}, "application/json", "")
    t.delete("operator", "another's", "foreign secret", "the operator must write")
    t.delete("alice", "another's", "foreign secret")
    t.delete("garbage collector", "a task's", "secret")
