"""Our kinds, once: whoever watches, writes, checks or grants rights to one of them looks here.

What else a new kind needs: its CRD, its rights in the chart, its value in `core.model`, what reads
it in `cache/convert.py`, and its store in `cache/cluster_view.py`. Tests hold the first three
against this list.
"""

from dataclasses import dataclass

from taskpass.core.model.api import API_VERSION as API_VERSION
from taskpass.core.model.api import GROUP as GROUP
from taskpass.core.model.api import VERSION as VERSION


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of the group `taskpass.dev`."""

    name: str
    """As in an object's `kind`."""
    plural: str
    namespaced: bool
    watched: bool = True
    """Whether it is in the cache; another is read by name when it is needed."""

    @property
    def crd(self) -> str:
        """Name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return where its objects are, or one of them; those of every namespace where it is ''."""
        within = f"namespaces/{namespace}/" if namespace else ""
        return f"/apis/{API_VERSION}/{within}{self.plural}" + (f"/{name}" if name else "")


AGENT_TASK = Kind("AgentTask", "agenttasks", namespaced=True)
CREDENTIAL_CLASS = Kind("CredentialClass", "credentialclasses", namespaced=False)
AGENT_POLICY = Kind("AgentPolicy", "agentpolicies", namespaced=True)
CLUSTER_AGENT_POLICY = Kind("ClusterAgentPolicy", "clusteragentpolicies", namespaced=False)
KILL_SWITCH = Kind("KillSwitch", "killswitches", namespaced=False)
TASK_APPROVAL = Kind("TaskApproval", "taskapprovals", namespaced=True)
AGENT_TASK_TEMPLATE = Kind("AgentTaskTemplate", "agenttasktemplates", namespaced=True)
AUDIT_ANCHOR = Kind("AuditAnchor", "auditanchors", namespaced=False, watched=False)

ALL = (
    AGENT_TASK, CREDENTIAL_CLASS, AGENT_POLICY, CLUSTER_AGENT_POLICY, KILL_SWITCH, TASK_APPROVAL,
    AGENT_TASK_TEMPLATE, AUDIT_ANCHOR,
)  # fmt: skip
WATCHED = tuple(kind for kind in ALL if kind.watched)
BY_NAME = {kind.name: kind for kind in ALL}
