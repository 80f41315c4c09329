"""An AgentTaskTemplate: what every Job whose pods name it gets as a task of its own. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.ownership import Controllers, Owner
from taskpass.core.model.api import API_VERSION
from taskpass.core.model.task import TEMPLATE_LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One AgentTaskTemplate as the API server holds it."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: Mapping[str, Any]
    """As it is: most of it is copied into tasks."""


def waits_for_task(pod: PodView, controllers: Controllers) -> bool:
    """Tell whether a pod is one for whose Job a task is to be made: it has not been let go yet.

    Only one that the Job's controller created, for that Job: a pod that merely says whose it is
    chooses no template.
    """
    waits = pod.gated and not pod.ended and pod.deleting_since is None
    job = owner_of(pod)
    if not waits or job is None or TEMPLATE_LABEL not in pod.labels:
        return False
    made = pod.created_by in controllers.get("Job", ())
    return made and pod.created_for == f"Job/{job.uid}"


def owner_of(pod: PodView) -> Owner | None:
    """Return the Job that a pod says it is of; None where it says another, or nothing."""
    owner = pod.owner
    if owner is None or (owner.api_group, owner.kind) != ("batch", "Job"):
        return None
    return owner


def task_object(template: Template, job: Owner) -> dict[str, Any]:
    """Return the AgentTask of a Job: it bears the Job's name, and goes with it.

    Whose it is stands in the stamps, which are the template's: admission lets only the operator
    bring any.
    """
    reference = {"apiGroup": job.api_group, "kind": job.kind, "name": job.name}
    owner = {"apiVersion": "batch/v1", "kind": job.kind, "name": job.name, "uid": job.uid}
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentTask",
        "metadata": {
            "namespace": template.namespace,
            "name": job.name,
            "ownerReferences": [owner],
        },
        "spec": {
            **template.spec,
            "agent": {**template.spec["agent"], "workloadRef": reference},
            "templateRef": {"name": template.name, "uid": template.uid},
        },
    }
