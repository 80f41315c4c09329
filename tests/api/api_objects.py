# ruff: noqa: E501  (a table reads best with one row a line)
"""Objects that the API refuses, each with the words it must say: one table for the schemas on file
(`test_refusals.py`) and for a real API server (`e2e/cases/admission/test_refusals.py`).
"""

import copy
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
VERSION = "taskpass.dev/v1alpha1"


def good(kind: str, variant: str = "") -> Object:
    """Return a valid object of a kind; `variant` is one of `VARIANTS`, '' is of `SPECS`."""
    spec = VARIANTS[kind][variant] if variant else SPECS[kind]
    return {
        "apiVersion": VERSION,
        "kind": kind,
        "metadata": {"name": "good"},
        "spec": copy.deepcopy(spec),
    }


REQUEST: Object = {
    "name": "tickets",
    "classRef": {"name": "tickets"},
    "actions": ["read"],
    "resources": ["namespace/tickets"],
}
POLICY: Object = {
    "effect": "Allow",
    "classes": ["tickets"],
    "actions": ["read*"],
    "resources": ["namespace/*"],
}
SPECS: dict[str, Object] = {
    "AgentTask": {
        "agent": {"serviceAccountName": "triage-agent", "replacementPolicy": "WaitForOld", "workloadRef": {"apiGroup": "batch", "kind": "Job", "name": "ticket-4711"}},
        "sponsor": "support-platform",
        "intent": {
            "goal": "Answer ticket 4711",
            "tools": ["tickets.read"],
            "data": [{"name": "tickets", "classification": "Internal"}],
            "trustBoundary": "internal",
        },
        "credentials": [REQUEST],
        "phases": [
            {"name": "research", "next": ["reply"]},
            {"name": "reply", "credentials": [{**REQUEST, "name": "reply", "outputs": [{"field": "token", "key": "TOKEN"}]}]},
        ],
        "phase": "research",
        "operatingMode": "Running",
        "startDeadlineSeconds": 600,
        "activeDeadlineSeconds": 3600,
        "ttlSecondsAfterFinished": 0,
    },
    "AgentTaskTemplate": {
        "agent": {"serviceAccountName": "triage-agent"},
        "sponsor": "support-platform",
        "intent": {
            "goal": "Nightly triage",
            "tools": ["tickets.read"],
            "data": [{"name": "tickets", "classification": "Internal"}],
            "trustBoundary": "internal",
        },
        "credentials": [REQUEST],
        "activeDeadlineSeconds": 3600,
        "ttlSecondsAfterFinished": 0,
    },
    "CredentialClass": {
        "provider": "Kubernetes",
        "kubernetes": {"roles": [{"action": "read", "kind": "ClusterRole", "name": "tickets-reader"}], "namespaces": ["tickets"]},
        "actions": ["read"],
        "locations": ["https://kubernetes.example:6443"],
        "namespaceSelector": {"matchLabels": {"taskpass.dev/tickets": "true"}},
    },
    "AgentPolicy": POLICY,
    "KillSwitch": {"target": "Task", "namespace": "support", "of": "ticket-4711", "reason": "INC-42"},
    "TaskApproval": {"taskRef": {"name": "ticket-4711", "uid": "0f"}, "digest": "sha256:" + 64 * "a", "decision": "Approved"},
    "ClusterAgentPolicy": {**POLICY, "namespaceSelector": {}},
}  # fmt: skip
VARIANTS: dict[str, dict[str, Object]] = {
    "CredentialClass": {
        "PostgreSQL": {
            "provider": "PostgreSQL",
            "postgresql": {"server": "support", "database": "tickets", "roles": [{"action": "read", "name": "tickets_ro"}]},
            "actions": ["read"],
            "namespaceSelector": {"matchLabels": {"taskpass.dev/tickets": "true"}},
        },
    },
}  # fmt: skip
"""Specs of another shape: by kind, and by what tells them apart."""


@dataclass(frozen=True)
class Refusal:
    """A change to a valid object that makes it bad: `path` is set to `value` (None removes it)."""

    kind: str
    path: str
    value: Any
    message: str
    why: str
    on_update: bool = False
    variant: str = ""

    @property
    def before(self) -> Object:
        """The valid object."""
        return good(self.kind, self.variant)

    @property
    def thing(self) -> Object:
        """The bad one."""
        thing = self.before
        *parents, last = self.path.split(".")
        target: Any = thing
        for parent in parents:
            target = target[int(parent)] if parent.isdigit() else target[parent]
        if self.value is None:
            del target[last]
        elif last.isdigit():
            target[int(last)] = self.value
        else:
            target[last] = self.value
        return thing

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}"


def _task(path: str, value: Any, message: str, why: str, **rest: bool) -> Refusal:
    return Refusal("AgentTask", f"spec.{path}" if path else "spec", value, message, why, **rest)


def _class(path: str, value: Any, message: str, why: str) -> Refusal:
    return Refusal("CredentialClass", f"spec.{path}", value, message, why)


def _database(path: str, value: Any, message: str, why: str) -> Refusal:
    return Refusal("CredentialClass", f"spec.{path}", value, message, why, variant="PostgreSQL")


def _policy(path: str, value: Any, message: str, why: str) -> Refusal:
    return Refusal("AgentPolicy", f"spec.{path}", value, message, why)


def _switch(path: str, value: Any, message: str, why: str, **rest: bool) -> Refusal:
    return Refusal("KillSwitch", f"spec.{path}", value, message, why, **rest)


def _word(path: str, value: Any, message: str, why: str, **rest: bool) -> Refusal:
    return Refusal("TaskApproval", f"spec.{path}", value, message, why, **rest)


AGENT = SPECS["AgentTask"]["agent"]
TASKS = [
    Refusal("AgentTask", "metadata.name", "a.b", "a DNS label of at most 63 characters", "a name with a dot"),
    Refusal("AgentTask", "metadata.name", "a" * 64, "a DNS label of at most 63 characters", "a name of 64 characters"),
    Refusal("AgentTask", "spec", None, "Required value", "no spec"),
    _task("tpyo", 1, "unknown field", "a field that does not exist"),
    _task("agent", None, "spec.agent: Required value", "no agent"),
    _task("agent.serviceAccountName", "default", "must not be 'default'", "the ServiceAccount default"),
    _task("agent.serviceAccountName", "Triage", "should match", "a ServiceAccount in capitals"),
    _task("agent.workloadRef.kind", "CronJob", "must be a Job of apiGroup 'batch', a Deployment", "a workload that has no end"),
    _task("agent.workloadRef.apiGroup", "", "must be a Job of apiGroup 'batch'", "a Job of no group"),
    _task("sponsor", "a\nb", "must not hold control characters", "a sponsor of two lines"),
    _task("intent.goal", "a\u001b[31mb", "must not hold control characters", "a goal that colours a terminal"),
    _task("intent.goal", None, "spec.intent.goal: Required value", "an intent without a goal"),
    _task("intent.data.0.classification", "Secret", "Unsupported value", "a classification of its own"),
    _task("intent.tools", ["a", "a"], "Duplicate value", "a tool twice"),
    _task("credentials.0.actions", [], "should have at least 1 items", "a request for no action"),
    _task("credentials.0.actions", None, "actions: Required value", "a request without actions"),
    _task("credentials.0.actions.0", "tickets.*", "must not hold '*'; a request says exactly", "an action with a star"),
    _task("credentials.0.resources.0", "namespace/*", "must not hold '*'; a request says exactly", "a resource with a star"),
    _task("credentials.0.location", "https://*", "must not hold '*'; a request says exactly", "a location with a star"),
    _task("credentials.0.actions.0", "a b", "should match", "an action with a space"),
    _task("credentials.0.expirationSeconds", 59, "should be greater than or equal to 60", "a lifetime below a minute"),
    _task("credentials.0.expirationSeconds", 86401, "should be less than or equal to 86400", "a lifetime above a day"),
    _task("credentials.0.name", "taskpass", "must not be 'taskpass', whose keys are kept", "a credential named taskpass"),
    _task("credentials.0.name", "A", "should match", "a credential in capitals"),
    _task("credentials.0.outputs", [{"field": "token", "key": "taskpass.json"}], "must not be 'taskpass.json'", "an output over our index"),
    _task("credentials.0.outputs", [{"field": "token", "key": "../x"}], "should match", "an output outside the volume"),
    _task("credentials.0.outputs", [{"field": "token", "key": "K"}, {"field": "server", "key": "K"}], "Duplicate value", "two outputs of one key"),
    _task("credentials", [REQUEST, REQUEST], "Duplicate value", "two requests of one name"),
    _task("phases.1.credentials.0.name", "tickets", "must not name a credential that `credentials` names too", "a request of the task's again in a phase"),
    _task("phases.0.next", ["publish"], "must name declared phases only in `next`", "a next phase that is not declared"),
    _task("phases.1.name", "research", "Duplicate value", "two phases of one name"),
    _task("phase", "publish", "must be the name of one of `phases`", "a phase that is not declared"),
    _task("phase", "reply", "must be the name of the first of `phases`, or unset, when the task is created", "a start in the second phase"),
    _task("phases", None, "must be the name of one of `phases`", "a phase without phases"),
    _task("", {"agent": AGENT}, "must have `credentials`, or `phases`, or both", "no request at all"),
    _task("", {"agent": AGENT, "phases": [{"name": "a"}]}, "must ask for at least one credential", "phases that ask for nothing"),
    _task("operatingMode", "Paused", "Unsupported value", "a mode that there is not"),
    _task("startDeadlineSeconds", 0, "should be greater than or equal to 1", "no time to start"),
    _task("activeDeadlineSeconds", 0, "should be greater than or equal to 1", "a deadline of no time"),
    _task("activeDeadlineSeconds", "1h", "must be of type integer", "a deadline in hours"),
    _task("agent.serviceAccountName", "another", "must not be changed; make a new AgentTask", "another agent", on_update=True),
    _task("agent.workloadRef", None, "must not be changed; make a new AgentTask", "no workload any more", on_update=True),
    _task("phase", "reply", "must stay as it is until the last move has settled", "a move before the first phase has settled", on_update=True),
    _task("phase", None, "must stay set once it is set", "a phase that is unset", on_update=True),
]  # fmt: skip
CLASSES = [
    _class("provider", "Vault", "Unsupported value", "a provider that does not exist"),
    _class("kubernetes", None, "must be set when `provider` is 'Kubernetes'", "a provider without its section"),
    _class("actions", ["read", "write"], "must each have a role in `kubernetes.roles`", "an action without a role"),
    _class("kubernetes.roles", [{"action": a, "kind": "Role", "name": "r"} for a in ("read", "x")], "must each be for one of `actions`", "a role without an action"),
    _class("kubernetes.roles.0.kind", "User", "Unsupported value", "a role that is none"),
    _class("kubernetes.namespaces", [], "should have at least 1 items", "no target namespace"),
    _class("kubernetes.namespaces.0", "*", "should match", "every namespace"),
    _class("actions", ["*"], "must not hold '*'; name each action", "every action"),
    _class("locations.0", "http://kubernetes.example", "must begin with 'https://'", "a location without encryption"),
    _class("kubernetes.streams", "Yes", "Unsupported value", "streams neither allowed nor refused"),
    _class("kubernetes.privilegeEscalation", "Yes", "Unsupported value", "privilegeEscalation neither allowed nor refused"),
    _class("defaultExpirationSeconds", 300, "must be at least 600 when `provider` is 'Kubernetes'", "a default that no token can have"),
    _class("maxExpirationSeconds", 600, "must be at least `defaultExpirationSeconds`", "a maximum below the default"),
    _class("namespaceSelector.matchExpressions", [{"key": "a", "operator": "In"}], "must have `values` when `operator` is", "In without values"),
    _class("namespaceSelector.matchExpressions", [{"key": "a", "operator": "Exists", "values": ["b"]}], "must have `values` when", "Exists with values"),
]  # fmt: skip
DATABASES = [
    _database("postgresql", None, "must be set when `provider` is 'PostgreSQL'", "PostgreSQL without its section"),
    _database("kubernetes", {"roles": [{"action": "read", "kind": "Role", "name": "r"}], "namespaces": ["a"]}, "must not be set when `provider` is another than 'Kubernetes'", "the section of another provider"),
    _class("postgresql", {"server": "s", "database": "d", "roles": [{"action": "read", "name": "r"}]}, "must not be set when `provider` is another than 'PostgreSQL'", "PostgreSQL's section beside Kubernetes'"),
    _database("actions", ["read", "write"], "must each have a role in `postgresql.roles`", "an action without a group role"),
    _database("postgresql.roles", [{"action": a, "name": "r"} for a in ("read", "x")], "must each be for one of `actions`", "a group role without an action"),
    _database("locations", ["https://db.example"], "must not be set when `provider` is 'PostgreSQL'", "a location of a database"),
    _database("postgresql.database", "a\nb", "should match", "a database of two lines"),
    _database("postgresql.database", 64 * "d", "Too long", "a database whose name the server would cut"),
    _database("postgresql.tls", "Prefer", "Unsupported value", "TLS that anybody in between can take off"),
    _database("postgresql.roles.0.name", "", "should be at least 1 chars long", "a group role without a name"),
]  # fmt: skip
POLICIES = [
    _policy("effect", "Permit", "Unsupported value", "another effect"),
    _policy("effect", None, "spec.effect: Required value", "no effect"),
    _policy("classes", None, "must be set when `effect` is 'Allow', as a selector that is absent allows nothing", "an Allow without classes"),
    _policy("actions", None, "must be set when `effect` is 'Allow', as a selector that is absent allows nothing", "an Allow without actions"),
    _policy("effect", "Constrain", "must have `limits` or `approval` when `effect` is 'Constrain'", "a Constrain without limits"),
    _policy("actions.0", "*.read", "must hold '*' as the last character only", "a star in front"),
    _policy("resources.0", "a*b*", "must hold '*' as the last character only", "two stars"),
    _policy("locations", ["https://*/x"], "must hold '*' as the last character only", "a star in the middle"),
    _policy("classes", [], "should have at least 1 items", "an empty selector, which could mean all or nothing"),
    _policy("requesters", {}, "must have `usernames` or `groups`", "requesters without anybody"),
    _policy("requesters", {"usernames": ["system:*"]}, "users and groups are matched exactly", "a user name with a star"),
    _policy("agents", {}, "must have `serviceAccountNames`, `podSelector` or `imageDigests`", "agents without anything"),
    _policy("agents", {"imageDigests": ["sha256:abc"]}, "must be 'sha256:' and 64 hex digits", "a short digest"),
    _policy("validations", [{"expression": "true"}], "message: Required value", "a validation that does not say what must be true"),
    _policy("validations", [{"expression": "x" * 4097, "message": "m"}], "Too long", "an expression that is too long"),
    _policy("limits", {}, "should have at least 1 properties", "limits without a limit"),
    Refusal("AgentPolicy", "spec", {"effect": "Deny", "limits": {"maxExpirationSeconds": 600}}, "must not be set when `effect` is 'Deny'", "limits on what is denied"),
    _policy("approval", {"approvals": 2}, "must name who may approve", "an approval of nobody"),
    _policy("approval", {"approverGroups": ["g"], "approvals": 0}, "should be greater than or equal to 1", "an approval without approvals"),
    Refusal("AgentPolicy", "spec", {"effect": "Deny", "approval": {"approverGroups": ["g"]}}, "must not be set when `effect` is 'Deny', which nobody can approve", "an approval of what is denied"),
    Refusal("AgentPolicy", "spec.namespaceSelector", {}, "unknown field", "a namespace's policy that selects namespaces"),
    Refusal("ClusterAgentPolicy", "spec.namespaceSelector", None, "{} is every namespace", "an Allow for no namespace"),
]  # fmt: skip
FAMILY = [
    _task("agent.replacementPolicy", "RevokeOld", 'replacementPolicy: Unsupported value', "a replacement that two pods with one Secret cannot have"),
    _task("completionPolicy", "OnPodEnd", "must be OnWorkloadEnd or Explicit with `agent.workloadRef`", "a Job's task that would end with a pod of it"),
    _task("parentRef", {"name": "good"}, "must not be its own parent", "a task that is its own parent"),
    _task("parentRef", {"name": "incident-17"}, "must not be set or taken off later", "a parent that comes later", on_update=True),
    _task("parentRef", {"name": "a.b"}, "should match", "a parent whose name no task can have"),
    _policy("limits", {"maxDelegationDepth": 11}, "should be less than or equal to 10", "a delegation deeper than anything"),
]  # fmt: skip
SWITCHES = [
    _switch("target", "Everything", "Unsupported value", "another target"),
    _switch("reason", None, "spec.reason: Required value", "no reason"),
    _switch("reason", "a\nb", "must not hold control characters", "a reason of two lines"),
    _switch("of", None, "must have `of`, the name of what to stop", "a task without a name"),
    _switch("namespace", None, "must have `namespace` where target is Task, Agent or Namespace", "a task without a namespace"),
    _switch("target", "Class", "must have `namespace` where target is Task, Agent or Namespace, and only there", "a class in a namespace"),
    _switch("target", "Namespace", "must have `of`, the name of what to stop, where target is Task, Agent or Class, and only there", "a namespace with a name in it"),
    _switch("reason", "INC-43", "must not be changed; make another KillSwitch", "another reason afterwards", on_update=True),
]  # fmt: skip
APPROVALS = [
    _word("digest", "sha256:abc", "must be 'sha256:' and 64 hex digits", "a short digest"),
    _word("digest", None, "spec.digest: Required value", "an approval of whatever it is"),
    _word("taskRef.uid", None, "spec.taskRef.uid: Required value", "an approval for whoever gets the name"),
    _word("decision", "Maybe", "Unsupported value", "another decision"),
    _word("validSeconds", 30, "should be greater than or equal to 60", "an approval that ends at once"),
    _word("validSeconds", 100000, "should be less than or equal to 86400", "an approval for ever"),
    _word("reason", "a\nb", "must not hold control characters", "a reason of two lines"),
    _word("decision", "Denied", "must not be changed; make another TaskApproval", "another decision afterwards", on_update=True),
    _word("digest", "sha256:" + 64 * "b", "must not be changed; make another TaskApproval", "another request afterwards", on_update=True),
]  # fmt: skip
REFUSALS = [*TASKS, *CLASSES, *DATABASES, *POLICIES, *SWITCHES, *APPROVALS, *FAMILY]
