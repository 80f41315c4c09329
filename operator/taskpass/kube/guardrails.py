"""Do the limits on the operator itself hold? Tried, not believed, at start and every minute.

RBAC cannot keep the operator from Secrets that it may write, so admission policies
do, and the operator issues nothing unless they refuse what they must refuse:

1. Our CRDs are there, and every admission policy with its binding, failing closed, without
   exceptions. Names are those of the chart (`_helpers.tpl`); a test compares them.
2. In each tenant's namespace, a dry run of making a Secret that would be filled with a
   ServiceAccount's token is refused by our policy; so is any Secret but the key in our own.
3. In each target namespace, a dry run of binding a listed role to everybody is refused by it.
4. So is a ServiceAccount of a grant without the grant's label, where grants live.

A namespace where something else refuses us (no rights, or it is going) holds as well: we can do
nothing there. So a tenant that deletes its namespace does not stop the others.
"""

import asyncio
import enum
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any

from taskpass.core.errors import AdmissionDenied, ApiError, Forbidden, NotFound, TransientError
from taskpass.core.model.problem import Problem
from taskpass.kube.api.client import KubeClient
from taskpass.kube.kinds import ALL

CRDS = tuple(kind.crd for kind in ALL)
MUTATING = (
    "taskpass-inject",
    "taskpass-inject-templates",
    "taskpass-stamp-approvals",
    "taskpass-stamp-classes",
    "taskpass-stamp-kill-switches",
    "taskpass-stamp-pods",
    "taskpass-stamp-tasks",
    "taskpass-stamp-tokens",
    "taskpass-stamp-workloads",
)
VALIDATING = (
    "taskpass-approvals",
    "taskpass-credentials",
    "taskpass-delegation",
    "taskpass-enrolled-pods",
    "taskpass-grants",
    "taskpass-grants-namespace",
    "taskpass-identity-tokens",
    "taskpass-kill-switches",
    "taskpass-operator-classes",
    "taskpass-operator-grants",
    "taskpass-operator-pods",
    "taskpass-operator-secrets",
    "taskpass-operator-tasks",
    "taskpass-operator-tokens",
    "taskpass-pod-bindings",
    "taskpass-pod-tokens",
    "taskpass-pods",
    "taskpass-revisions",
    "taskpass-secret-deletion",
    "taskpass-secret-references",
    "taskpass-stamps",
    "taskpass-status",
    "taskpass-template-pods",
    "taskpass-use",
    "taskpass-workloads",
)
REMEDY = "install or upgrade the chart with the same values, and do not change its objects"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io"
GRANTS = "taskpass-grants"
NOBODY = "g-" + 32 * "0"
"""A grant id that is never drawn: random ones are version 4 UUIDs."""


class Guardrail(enum.StrEnum):
    """What does not hold."""

    KIND = "kind"
    """One of our CRDs is not there (1)."""
    POLICY = "policy"
    """An admission policy or its binding is not there, or does not count everywhere (1)."""
    WRITE = "write"
    """Something was let pass that must be refused (2 to 4)."""


Weakness = Problem[Guardrail]
"""What does not hold, in a sentence; for all of them what to do is `REMEDY`."""


async def verify_guardrails(
    client: KubeClient,
    *,
    home: str,
    tenants: Iterable[str],
    targets: Mapping[str, Sequence[tuple[str, str]]],
) -> str | None:
    """Return the first that does not hold, in a sentence for people; None if all do.

    `home` is the operator's own namespace; `targets` are (kind, name) of the roles that may be
    bound in each target namespace.

    Raises:
        ApiUnavailable: It could not be found out.

    """
    missing = await limits_missing(client, home=home, tenants=tenants, targets=targets)
    return f"{missing[0].message}; {REMEDY}" if missing else None


async def limits_missing(
    client: KubeClient,
    *,
    home: str,
    tenants: Iterable[str],
    targets: Mapping[str, Sequence[tuple[str, str]]],
) -> list[Weakness]:
    """Return each limit that does not hold; see `verify_guardrails`."""
    checks = [
        *(
            _exists(client, f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{n}", n)
            for n in CRDS
        ),
        *(_policy_holds(client, "Mutating", name) for name in MUTATING),
        *(_policy_holds(client, "Validating", name) for name in VALIDATING),
        _secret_is_refused(client, home, "Opaque", {}),
        *(_token_is_refused(client, namespace) for namespace in sorted(tenants)),
        *(
            _binding_is_refused(client, namespace, role)
            for namespace, roles in sorted(targets.items())
            for role in list(roles)[:1]
        ),
        _unlabelled_grant_is_refused(client),
    ]
    found = await asyncio.gather(*checks, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if isinstance(each, Problem)]


async def _exists(client: KubeClient, path: str, name: str) -> Weakness | None:
    answer = await _read(client, path)
    return None if isinstance(answer, dict) else Problem(Guardrail.KIND, f"'{name}' {answer}")


async def _policy_holds(client: KubeClient, kind: str, name: str) -> Weakness | None:
    plural = f"{kind.lower()}admissionpolic"
    policy, binding = await asyncio.gather(
        _read(client, f"{ADMISSION}/{plural}ies/{name}"),
        _read(client, f"{ADMISSION}/{plural}ybindings/{name}"),
    )
    if not isinstance(policy, dict):
        return Problem(Guardrail.POLICY, f"{kind}AdmissionPolicy '{name}' {policy}")
    if not isinstance(binding, dict):
        return Problem(Guardrail.POLICY, f"{kind}AdmissionPolicyBinding '{name}' {binding}")
    weak = Problem(
        Guardrail.POLICY, f"{kind}AdmissionPolicy '{name}' does not count everywhere any more"
    )
    spec, bound = policy["spec"], binding["spec"]
    if spec.get("failurePolicy") != "Fail" or bound.get("policyName") != name:
        return weak
    if bound.get("paramRef") or _narrows(bound.get("matchResources")):
        return weak
    if kind == "Validating" and bound.get("validationActions") != ["Deny"]:
        return weak
    return None


def _narrows(match: Any) -> bool:
    """Tell whether a binding's matchResources lets anything pass; the API server fills defaults."""
    return any(value for key, value in (match or {}).items() if key != "matchPolicy")


async def _read(client: KubeClient, path: str) -> dict[str, Any] | str:
    try:
        return await client.get(path)
    except NotFound:
        return "is missing"
    except Forbidden:
        return "cannot be read: the operator may not (403)"


async def _secret_is_refused(
    client: KubeClient, namespace: str, of_type: str, annotations: Mapping[str, str]
) -> Weakness | None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "taskpass-guard", "annotations": annotations},
        "type": of_type,
    }
    path = f"/api/v1/namespaces/{namespace}/secrets"
    if await _is_refused(client.create(path, body, dryRun="All")):
        return None
    return Problem(
        Guardrail.WRITE,
        f"The operator could make a Secret of type {of_type} in namespace '{namespace}', which "
        "ValidatingAdmissionPolicy 'taskpass-operator-secrets' must refuse",
    )


async def _token_is_refused(client: KubeClient, namespace: str) -> Weakness | None:
    # The API server would fill it with the token of that ServiceAccount, and show it on deletion.
    annotations = {"kubernetes.io/service-account.name": "default"}
    of_type = "kubernetes.io/service-account-token"
    return await _secret_is_refused(client, namespace, of_type, annotations)


async def _binding_is_refused(
    client: KubeClient, namespace: str, role: tuple[str, str]
) -> Weakness | None:
    body = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"taskpass-{NOBODY}-0"},
        "roleRef": {"apiGroup": RBAC, "kind": role[0], "name": role[1]},
        "subjects": [{"kind": "Group", "apiGroup": RBAC, "name": "system:authenticated"}],
    }
    path = f"/apis/{RBAC}/v1/namespaces/{namespace}/rolebindings"
    if await _is_refused(client.create(path, body, dryRun="All")):
        return None
    return Problem(
        Guardrail.WRITE,
        f"The operator could bind {role[0]} '{role[1]}' to everybody in namespace '{namespace}', "
        "which ValidatingAdmissionPolicy 'taskpass-operator-grants' must refuse",
    )


async def _unlabelled_grant_is_refused(client: KubeClient) -> Weakness | None:
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NOBODY}}
    path = f"/api/v1/namespaces/{GRANTS}/serviceaccounts"
    if await _is_refused(client.create(path, body, dryRun="All")):
        return None
    return Problem(
        Guardrail.WRITE,
        f"The operator could make a ServiceAccount in namespace '{GRANTS}' that has no grant's "
        "label, which ValidatingAdmissionPolicy 'taskpass-operator-grants' must refuse",
    )


async def _is_refused(call: Awaitable[Any]) -> bool:
    try:
        await call
    except (AdmissionDenied, Forbidden, NotFound):
        return True
    except TransientError:
        raise
    except ApiError:
        return False  # refused by its form alone: that says nothing
    return False
