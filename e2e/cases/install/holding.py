"""Tasks that hold a credential on a real node, by agents that do nothing."""

from typing import Any

from e2e.demo.stage import EXAMPLES, TARGET, TENANT, Stage
from e2e.impersonate import Object, Refused, thing

TICKET = f"/api/v1/namespaces/{TARGET}/configmaps/ticket-4711"


def provide(stage: Stage) -> None:
    """Apply what an example's task stands on."""
    wish = thing(
        "taskpass.dev/v1alpha1", "CredentialClass", "", "probe",
        spec={"provider": "Kubernetes", "actions": ["a"]},
    )  # fmt: skip
    stage.wait("classes are known", lambda: _is_known(stage, wish), seconds=30)
    for name in ("01-class", "02-policy", "03-rights"):
        stage.apply(EXAMPLES / "01-first-task" / f"{name}.yaml")


def _is_known(stage: Stage, wish: Object) -> bool:
    """Tell whether admission knows a kind: a while after it is established it answers 503."""
    try:
        stage.api.create(wish, dryRun="All")
    except Refused as refused:
        return refused.status not in (404, 503)
    return True


def task_spec(**rest: Any) -> dict[str, Any]:
    """Return what a task asks for."""
    asked = {
        "name": "tickets",
        "classRef": {"name": "tickets"},
        "actions": ["tickets.read"],
        "resources": [f"namespace/{TARGET}"],
    }
    return {
        "agent": {"serviceAccountName": "triage-agent"},
        "sponsor": "support-platform",
        "intent": {"goal": "Hold on"},
        "credentials": [asked],
        **rest,
    }


def pod_spec(**rest: Any) -> dict[str, Any]:
    """Return an agent that does nothing for ten minutes."""
    container = {"name": "agent", "image": "localhost/taskpass:dev", "command": ["sleep", "600"]}
    return {
        "serviceAccountName": "triage-agent",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        **rest,
    }


def hold(stage: Stage, name: str, **pod: Any) -> str:
    """Begin a task and its pod, and return the token that it holds."""
    stage.wait("the task is taken", lambda: begun(stage, name, task_spec()), seconds=30)
    labels = {"taskpass.dev/task": name}
    stage.api.create(thing("v1", "Pod", TENANT, name, labels=labels, spec=pod_spec(**pod)))
    return token_of(stage, name)


def token_of(stage: Stage, name: str) -> str:
    """Return the token of a task's Secret, once it is there."""
    given: dict[str, str] = stage.wait(
        "the credential", lambda: stage.credentials_or_why(name), seconds=60
    )
    return given["tickets.token"]


def begun(stage: Stage, name: str, task: dict[str, Any]) -> bool:
    """Apply a task; false where the API server says that it does not know the new kind yet."""
    made = thing("taskpass.dev/v1alpha1", "AgentTask", TENANT, name, spec=task)
    if not _is_known(stage, made):
        return False
    stage.api.apply(made)
    return True
