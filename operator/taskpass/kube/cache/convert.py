"""Objects of the Kubernetes API as values of the core.

The objects are what an API server holds, so they passed their schema: a field that must be there is
read without asking. `cli/policy/files.py` checks objects that come from files before they get here.
Nothing is guessed: what is absent is None, '' or empty, as the core's types say.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from taskpass.core.lifecycle.approval import TaskApproval, Verdict
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.ownership import Owner, WorkloadView
from taskpass.core.lifecycle.progress import ACTIVE, SAVEPOINT
from taskpass.core.lifecycle.template import Template
from taskpass.core.model.kill_switch import KillSwitch, Target
from taskpass.core.model.task import (
    CHANGERS,
    CREATED_BY,
    CREATED_FOR,
    FINALIZER,
    GATE,
    LABEL,
    RUNNING,
    VOLUME,
    CredentialClass,
    CredentialRequest,
    Data,
    Intent,
    LabelSelector,
    Output,
    Phase,
    Task,
    TaskUser,
    User,
    WorkloadRef,
    digest,
)
from taskpass.core.policy.types import (
    Agents,
    ApprovalRule,
    Effect,
    Policy,
    Requesters,
    Validation,
)

Object = Mapping[str, Any]

TOKEN_PATH = "identity/token"  # noqa: S105  (a path in our volume)
TOKEN_SECONDS = 3600
"""What the API server takes for a projected token that does not say."""
ENDS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("batch", "Job"): {"Complete": "Succeeded", "Failed": "Failed"},
    ("jobset.x-k8s.io", "JobSet"): {"Completed": "Succeeded", "Failed": "Failed"},
}
"""By the condition that says so: how a workload ended."""


def task_from(obj: Object) -> Task:
    """Convert an AgentTask."""
    meta, spec = obj["metadata"], obj["spec"]
    agent = spec["agent"]
    ref = agent.get("workloadRef")
    return Task(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        resource_version=meta["resourceVersion"],
        created_at=_time(meta["creationTimestamp"]),
        deleting_since=_time_or_none(meta.get("deletionTimestamp")),
        has_finalizer=FINALIZER in meta.get("finalizers", ()),
        service_account=agent["serviceAccountName"],
        replacement_policy=agent.get("replacementPolicy", "WaitForOld"),
        workload=WorkloadRef(api_group=ref["apiGroup"], kind=ref["kind"], name=ref["name"])
        if ref
        else None,
        requester=_task_user(spec.get("requester", {})),
        changed_by=_task_user(spec.get("changedBy", {})),
        changers=tuple(spec.get("changers", ())),
        sponsor=spec.get("sponsor", ""),
        intent=_intent(spec.get("intent", {})),
        credentials=_requests(spec),
        phases=tuple(_phase(phase) for phase in spec.get("phases", ())),
        phase=spec.get("phase", ""),
        operating_mode=spec.get("operatingMode", RUNNING),
        completion_policy=spec.get("completionPolicy", ""),
        start_deadline_seconds=spec.get("startDeadlineSeconds"),
        active_deadline_seconds=spec.get("activeDeadlineSeconds"),
        ttl_seconds_after_finished=spec.get("ttlSecondsAfterFinished"),
        idle_timeout_seconds=spec.get("idleTimeoutSeconds"),
        savepoint=meta.get("annotations", {}).get(SAVEPOINT, ""),
        active=meta.get("annotations", {}).get(ACTIVE, ""),
        template=spec.get("templateRef", {}).get("name", ""),
        template_uid=spec.get("templateRef", {}).get("uid", ""),
        parent=spec.get("parentRef", {}).get("name", ""),
        status=obj.get("status", {}),
    )


def _user(user: Object) -> User:
    return User(
        username=user.get("username", ""),
        uid=user.get("uid", ""),
        groups=tuple(user.get("groups", ())),
    )


def _task_user(user: Object) -> TaskUser:
    return TaskUser(
        username=user.get("username", ""),
        uid=user.get("uid", ""),
        groups=tuple(user.get("groups", ())),
        pod_uid=user.get("podUID", ""),
    )


def _intent(intent: Object) -> Intent:
    return Intent(
        goal=intent.get("goal", ""),
        tools=tuple(intent.get("tools", ())),
        data=tuple(
            Data(name=data["name"], classification=data["classification"])
            for data in intent.get("data", ())
        ),
        trust_boundary=intent.get("trustBoundary", ""),
    )


def _phase(phase: Object) -> Phase:
    return Phase(
        name=phase["name"], next=tuple(phase.get("next", ())), credentials=_requests(phase)
    )


def _requests(asking: Object) -> tuple[CredentialRequest, ...]:
    return tuple(
        CredentialRequest(
            name=request["name"],
            class_name=request["classRef"]["name"],
            actions=tuple(request["actions"]),
            resources=tuple(request.get("resources", ())),
            location=request.get("location", ""),
            expiration_seconds=request.get("expirationSeconds"),
            outputs=tuple(
                Output(field=output["field"], key=output["key"])
                for output in request.get("outputs", ())
            ),
        )
        for request in asking.get("credentials", ())
    )


def class_from(obj: Object) -> CredentialClass:
    """Convert a CredentialClass; its digest covers what is issued: provider and its section."""
    meta, spec = obj["metadata"], obj["spec"]
    provider = spec["provider"]
    section = provider.lower()
    config = spec.get(section, {})
    return CredentialClass(
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        provider=provider,
        config=config,
        actions=tuple(spec["actions"]),
        locations=tuple(spec.get("locations", ())),
        sensitivity=spec.get("sensitivity", "Internal"),
        namespace_selector=selector_from(spec.get("namespaceSelector")),
        default_expiration_seconds=spec.get("defaultExpirationSeconds", 900),
        max_expiration_seconds=spec.get("maxExpirationSeconds", 3600),
        digest=digest({"provider": provider, section: config}),
        deleting="deletionTimestamp" in meta,
        has_finalizer=FINALIZER in meta.get("finalizers", ()),
    )


def policy_from(obj: Object) -> Policy:
    """Convert an AgentPolicy or a ClusterAgentPolicy; its digest covers the whole spec."""
    meta, spec = obj["metadata"], obj["spec"]
    return Policy(
        kind=obj["kind"],
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        resource_version=meta["resourceVersion"],
        effect=Effect(spec["effect"]),
        namespace_selector=selector_from(spec.get("namespaceSelector")),
        requesters=_requesters(spec.get("requesters")),
        agents=_agents(spec.get("agents")),
        classes=_patterns(spec, "classes"),
        actions=_patterns(spec, "actions"),
        resources=_patterns(spec, "resources"),
        locations=_patterns(spec, "locations"),
        validations=tuple(
            Validation(expression=validation["expression"], message=validation["message"])
            for validation in spec.get("validations", ())
        ),
        max_expiration_seconds=spec.get("limits", {}).get("maxExpirationSeconds"),
        max_renewals=spec.get("limits", {}).get("maxRenewals"),
        max_active_tasks=spec.get("limits", {}).get("maxActiveTasks"),
        max_active_tasks_in_namespace=spec.get("limits", {}).get("maxActiveTasksInNamespace"),
        max_delegation_depth=spec.get("limits", {}).get("maxDelegationDepth"),
        max_children=spec.get("limits", {}).get("maxChildren"),
        approval=_approval(spec.get("approval")),
        digest=digest(spec),
    )


def _requesters(requesters: Object | None) -> Requesters | None:
    if requesters is None:
        return None
    return Requesters(
        usernames=tuple(requesters.get("usernames", ())), groups=tuple(requesters.get("groups", ()))
    )


def _approval(approval: Object | None) -> ApprovalRule | None:
    if approval is None:
        return None
    return ApprovalRule(
        approvals=approval.get("approvals", 1),
        approver_groups=tuple(approval.get("approverGroups", ())),
        approver_usernames=tuple(approval.get("approverUsernames", ())),
        excluded_usernames=tuple(approval.get("excludedUsernames", ())),
        valid_seconds=approval.get("validSeconds", 900),
    )


def _agents(agents: Object | None) -> Agents | None:
    if agents is None:
        return None
    return Agents(
        service_account_names=tuple(agents.get("serviceAccountNames", ())),
        pod_selector=selector_from(agents.get("podSelector")),
        image_digests=tuple(agents.get("imageDigests", ())),
    )


def _patterns(spec: Object, name: str) -> tuple[str, ...] | None:
    return tuple(spec[name]) if name in spec else None


def selector_from(selector: Object | None) -> LabelSelector | None:
    """Convert a label selector: None stays None (absent), `{}` selects all."""
    if selector is None:
        return None
    return LabelSelector(
        match_labels=dict(selector.get("matchLabels", {})),
        match_expressions=tuple(
            (expression["key"], expression["operator"], tuple(expression.get("values", ())))
            for expression in selector.get("matchExpressions", ())
        ),
    )


def pod_from(obj: Object) -> PodView:
    """Convert a pod that carries our label."""
    meta, spec = obj["metadata"], obj["spec"]
    labels, annotations = meta.get("labels", {}), meta.get("annotations", {})
    phase = obj.get("status", {}).get("phase", "")
    token = _our_token(spec)
    return PodView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        created_at=_time(meta["creationTimestamp"]),
        deleting_since=_time_or_none(meta.get("deletionTimestamp")),
        labels=dict(labels),
        created_by=_creator(annotations.get(CREATED_BY, "")),
        created_for=_created_for(annotations),
        owner=_controller(meta),
        service_account=spec.get("serviceAccountName", ""),
        gated=any(gate["name"] == GATE for gate in spec.get("schedulingGates", ())),
        ended=phase if phase in ("Succeeded", "Failed") else "",
        audience=token.get("audience", ""),
        token_seconds=token.get("expirationSeconds", TOKEN_SECONDS) if token else 0,
        secret=_our_secret(spec, f"taskpass-{labels.get(LABEL, '')}"),
        images=tuple(
            container.get("image", "")
            for kind in ("initContainers", "containers", "ephemeralContainers")
            for container in spec.get(kind, ())
        ),
    )


def _sources(spec: Object) -> Iterable[Object]:
    """Yield what our volume projects; nothing where it is of another type."""
    for volume in spec.get("volumes", ()):
        if volume["name"] == VOLUME:
            yield from volume.get("projected", {}).get("sources", ())


def _our_token(spec: Object) -> Object:
    for source in _sources(spec):
        token: Object = source.get("serviceAccountToken", {})
        if token.get("path") == TOKEN_PATH:
            return token
    return {}


def _our_secret(spec: Object, name: str) -> str:
    # Optional, or the pod would wait for a Secret that only exists once it is attested, and would
    # not start again once its credentials are revoked.
    for source in _sources(spec):
        secret = source.get("secret", {})
        if secret.get("name") == name and secret.get("optional", False):
            return name
    return ""


def _creator(stamp: str) -> str:
    """Return the user name in the creator's stamp; '' for anything that admission did not write."""
    try:
        user = json.loads(stamp)
    except (ValueError, RecursionError):
        return ""
    name = user.get("username") if isinstance(user, dict) else None
    return name if isinstance(name, str) else ""


def _created_for(annotations: Object) -> str | None:
    """Return the stamp of the owner; None where there is none, or it says nobody created it."""
    return annotations.get(CREATED_FOR) if annotations.get(CREATED_BY) else None


def _changers(stamp: str | None) -> tuple[str, ...] | None:
    """Return the names in the stamp of who changed a workload, one quoted on each line.

    One that cannot be read is '', as that of somebody whom nobody saw.
    """
    return None if stamp is None else tuple(_unquoted(line) for line in stamp.split("\n"))


def _unquoted(line: str) -> str:
    try:
        name = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return name if isinstance(name, str) else ""


def _controller(meta: Object) -> Owner | None:
    for owner in meta.get("ownerReferences", ()):
        if owner.get("controller", False):
            return Owner(
                api_group=_group(owner["apiVersion"]),
                kind=owner["kind"],
                name=owner["name"],
                uid=owner["uid"],
            )
    return None


def kill_switch_from(obj: Object) -> KillSwitch:
    """Convert a KillSwitch."""
    meta, spec = obj["metadata"], obj["spec"]
    return KillSwitch(
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        target=Target(spec["target"]),
        namespace=spec.get("namespace", ""),
        of=spec.get("of", ""),
        reason=spec["reason"],
        requester=_user(spec.get("requester", {})),
    )


def approval_from(obj: Object) -> TaskApproval:
    """Convert a TaskApproval."""
    meta, spec = obj["metadata"], obj["spec"]
    ready: Object = next(
        (c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), {}
    )
    return TaskApproval(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        created_at=_time(meta["creationTimestamp"]),
        task_name=spec["taskRef"]["name"],
        task_uid=spec["taskRef"]["uid"],
        digest=spec["digest"],
        decision=Verdict(spec["decision"]),
        reason=spec.get("reason", ""),
        valid_seconds=spec.get("validSeconds"),
        approver=_user(spec.get("approver", {})),
        said=(ready.get("reason", ""), ready.get("message", "")),
    )


def template_from(obj: Object) -> Template:
    """Convert an AgentTaskTemplate."""
    meta = obj["metadata"]
    return Template(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        spec=obj["spec"],
    )


def workload_from(obj: Object) -> WorkloadView:
    """Convert an owner of pods. Only a Job and a JobSet come to an end of their own."""
    meta, group, kind = obj["metadata"], _group(obj["apiVersion"]), obj["kind"]
    annotations = meta.get("annotations", {})
    return WorkloadView(
        api_group=group,
        kind=kind,
        name=meta["name"],
        uid=meta["uid"],
        owner=_controller(meta),
        ended=_end(obj, ENDS.get((group, kind), {})),
        created_at=_time_or_none(meta.get("creationTimestamp")),
        created_by=_creator(annotations.get(CREATED_BY, "")),
        created_for=_created_for(annotations),
        changers=_changers(annotations.get(CHANGERS)),
    )


def _end(workload: Object, ends: Mapping[str, str]) -> str:
    for condition in workload.get("status", {}).get("conditions", ()):
        if condition["status"] == "True" and condition["type"] in ends:
            return ends[condition["type"]]
    return ""


def _group(api_version: str) -> str:
    group, slash, _ = api_version.rpartition("/")
    return group if slash else ""


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _time_or_none(text: str | None) -> datetime | None:
    return None if text is None else _time(text)
