"""Workloads on the stage: one of each kind, and what others made of them and changed in them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from e2e.admission import LABEL, TENANT, container, wait_for
from e2e.foreign_kinds import KINDS, crd
from e2e.impersonate import Api, Object, Refused, thing
from e2e.mutations.canary import ADMISSION

GROUPS = {
    "Deployment": "apps/v1", "ReplicaSet": "apps/v1", "StatefulSet": "apps/v1", "Job": "batch/v1",
    "CronJob": "batch/v1", **{kind: f"{group}/{v}" for kind, (group, v, _) in KINDS.items()},
}  # fmt: skip
"""Every kind whose pods may be agents."""
FOR_TEMPLATES = "taskpass.dev/task-template"
CROWDS = {"crowd of 32": 32, "crowd of 33": 33}
"""How many have changed each: the last that is added is the thirty-third."""


CLAIMED = {
    "taskpass.dev/created-by": "x", "taskpass.dev/created-for": "Job/1",
    "taskpass.dev/changers": '"root"',
}  # fmt: skip
"""Stamps as somebody would have them."""


def agents(kind: str, name: str, *, labels: Object | None = None, **spec: Any) -> Object:
    """Return a workload that makes no pods, of agents unless it is told other labels."""
    ours = {LABEL: "live"} if labels is None else labels
    template: Object = {
        "metadata": {"labels": {"app": name, **ours}},
        "spec": {"containers": [container("agent")]},
    }
    whole: Object
    match kind:
        case "Job":
            template["spec"]["restartPolicy"] = "Never"
            whole = {"template": template, "suspend": True}
        case "CronJob":
            template["spec"]["restartPolicy"] = "Never"
            of_jobs = {"spec": {"template": template}}
            whole = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": of_jobs}
        case "JobSet":
            whole = {
                "replicatedJobs": [{"name": "a", "template": {"spec": {"template": template}}}]
            }
        case "Sandbox":
            whole = {"podTemplate": template}
        case _:
            selector = {"matchLabels": {"app": name}}
            whole = {"selector": selector, "template": template, "replicas": 0}
    if kind == "StatefulSet":
        whole["serviceName"] = name
    if kind == "Deployment":
        whole |= {"strategy": {"type": "Recreate"}, "paused": True}
    return thing(GROUPS[kind], kind, TENANT, name, spec={**whole, **spec})


def change_of(kind: str) -> Object:
    """Return a change of the spec, but for its templates, that leaves it without pods."""
    match kind:
        case "Job":
            return {"activeDeadlineSeconds": 600}
        case "CronJob":
            return {"schedule": "0 0 2 1 *"}
        case "ReplicaSet" | "Deployment" | "StatefulSet":
            return {"minReadySeconds": 3}
        case _:
            return {"anything": "else"}


def label_change(kind: str, value: str | None) -> Object:
    """Return the change of the spec that puts our label on, or takes it off."""
    after = {"metadata": {"labels": {LABEL: value}}}
    match kind:
        case "CronJob":
            return {"jobTemplate": {"spec": {"template": after}}}
        case "JobSet":
            jobs = [{"name": "a", "template": {"spec": {"template": after}}}]
            return {"replicatedJobs": jobs if value else []}
        case "Sandbox":
            return {"podTemplate": after}
        case _:
            return {"template": after}


def owned(by: Object, **rest: object) -> Object:
    """Return a claim to belong to something."""
    meta = by["metadata"]
    return {"apiVersion": by["apiVersion"], "kind": by["kind"], "name": meta["name"],
            "uid": meta["uid"], "controller": True, **rest}  # fmt: skip


def set_workloads(admin: Api, users: dict[str, Api], live: dict[str, Object]) -> None:
    """Make them all, in the names of those who would."""
    for kind in KINDS:
        admin.apply(crd(kind))
    for kind in GROUPS:
        name = kind.lower()
        live[kind] = wait_for(partial(_made, users["alice"], agents(kind, name)))
        unlabelled = agents(kind, f"{name}-plain", labels={})
        unlabelled["metadata"]["annotations"] = CLAIMED  # nobody puts them right yet
        live[f"{kind} without label"] = users["alice"].create(unlabelled)
    for kind, above, who in (
        ("ReplicaSet", "Deployment", "deployment controller"),
        ("Job", "CronJob", "cronjob controller"),
        ("StatefulSet", "Deployment", "deployment controller"),
    ):
        body = agents(kind, f"{kind.lower()}-made", labels={LABEL: "live", FOR_TEMPLATES: "live"})
        body["metadata"]["ownerReferences"] = [owned(live[above])]
        live[f"made {kind}"] = users[who].create(body)
    for name, count in CROWDS.items():
        made = live[name] = admin.create(agents("Sandbox", name.replace(" ", "-")))
        for at in range(1, count):
            changer = admin.as_user(f"one-{at}", "system:masters")
            changer.merge(made, {"spec": {"at": at}})
    # Last, as it is not told here when the policies count again.
    names = ("taskpass-stamp-workloads", "taskpass-workloads")
    alice = users["alice"]
    early = before_the_chart(admin, names, lambda: _unstamped(alice))
    live.update({f"early {each['kind']}": each for each in early})


def before_the_chart(admin: Api, policies: Sequence[str], make: Callable[[], Any]) -> Any:
    """Make something as it was made before the chart was installed, when these did not count.

    `make` refuses, as the API server does, for as long as they still do.
    """
    taken = []
    for kind in ("validating", "mutating"):
        bindings = f"{ADMISSION}/{kind}admissionpolicybindings"
        for each in admin.call("GET", bindings)["items"]:
            if each["spec"]["policyName"] in policies:
                admin.call("DELETE", f"{bindings}/{each['metadata']['name']}")
                taken.append((bindings, each))
    made = wait_for(lambda: _accepted(make))
    for bindings, each in taken:
        meta = {k: each["metadata"][k] for k in ("name", "labels", "annotations")}
        admin.call("POST", bindings, {**each, "metadata": meta})
    return made


def _accepted(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Refused as refused:
        if refused.status not in (403, 422):
            raise
        return None


def _unstamped(alice: Api) -> list[Object]:
    """Make one of each kind without stamps; refuse where they are stamped."""
    probe = alice.create(agents("Job", "probe"), dryRun="All")
    if "annotations" in probe["metadata"]:
        raise Refused(403, "workloads are stamped still")
    return [alice.create(agents(kind, f"{kind.lower()}-early")) for kind in GROUPS]


def _made(who: Api, body: Object) -> Object | None:
    """Return what was made; None while the API server does not know the kind, with its schema."""
    try:
        made = who.create(body, dryRun="All")
        if "taskpass.dev/changers" not in made["metadata"].get("annotations", {}):
            return None
        return who.create(body)
    except Refused as refused:
        if refused.status not in (403, 404, 500, 503):
            raise
        return None
