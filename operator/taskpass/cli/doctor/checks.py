"""What `taskpass doctor` asks the API server.

Each check says one line or several. `ApiUnavailable`, and a refusal where nothing can be told
without the answer, are raised.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from taskpass.core.errors import Forbidden, NotFound, SigningKeyUnusable
from taskpass.core.model.diagnosis import Diagnosis, doubtful, failed, well
from taskpass.kube import guardrails
from taskpass.kube.api.client import KubeClient
from taskpass.kube.writers.signing_key import name_of, read_seed

OLDEST = (1, 36)
"""MutatingAdmissionPolicy v1 came with it."""
SKEW_SECONDS = 5.0
MUCH_SKEW_SECONDS = 60.0
UPGRADE = "install or upgrade the chart with the same values"
Object = Mapping[str, Any]


async def version(client: KubeClient) -> Diagnosis:
    """Say whether Kubernetes is new enough."""
    told = await client.get("/version")
    numbers = [re.sub(r"\D.*", "", str(told.get(part, ""))) for part in ("major", "minor")]
    name = str(told.get("gitVersion", "unknown"))
    if not all(numbers) or tuple(int(each) for each in numbers) < OLDEST:
        return failed(
            "kubernetes",
            f"the API server is of version {name}",
            "upgrade the cluster to 1.36 or later: injection needs MutatingAdmissionPolicy v1",
        )
    return well("kubernetes", f"the API server is of version {name}")


async def clock(client: KubeClient, now: Callable[[], datetime]) -> Diagnosis:
    """Compare the API server's clock with the one here."""
    before = now()
    _, _, headers = await client.fetch("/version")
    middle = before + (now() - before) / 2
    try:
        theirs = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return doubtful("clock", "the API server does not say its time", "look at a proxy between")
    # The header has whole seconds, cut off: half of one is in doubt either way.
    seconds = (middle - theirs).total_seconds() - 0.5
    size = abs(seconds)
    said = f"{size:.0f} s {'ahead of' if seconds > 0 else 'behind'} the API server's"
    if size >= MUCH_SKEW_SECONDS:
        return failed("clock", said, "synchronise the clocks: only a third keeps expiries right")
    if size >= SKEW_SECONDS:
        return doubtful("clock", said, "synchronise the clocks of this machine and the API server")
    return well("clock", f"within {SKEW_SECONDS:.0f} s of the API server's")


async def kinds(client: KubeClient) -> list[Diagnosis]:
    """Say whether our CRDs are there and served."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    found = await asyncio.gather(*(_read(client, f"{path}/{name}") for name in guardrails.CRDS))
    wrong = [
        f"'{name}' {problem}"
        for name, crd in zip(guardrails.CRDS, found, strict=True)
        if (problem := _not_served(crd))
    ]
    if wrong:
        return [failed("crds", each, UPGRADE) for each in wrong]
    return [well("crds", f"all {len(guardrails.CRDS)} are established and serve v1alpha1")]


def _not_served(crd: Object | str) -> str | None:
    """Return what keeps a CRD from being of use, as its name goes on; None where nothing does."""
    if isinstance(crd, str):
        return f"cannot be read ({crd})"
    if not any(v["name"] == "v1alpha1" and v.get("served") for v in crd["spec"]["versions"]):
        return "does not serve v1alpha1"
    said = crd.get("status", {}).get("conditions", ())
    states = {each["type"]: each["status"] for each in said}
    return None if states.get("Established") == "True" else "is not established"


async def limits(
    client: KubeClient,
    *,
    home: str,
    tenants: Iterable[str],
    targets: Mapping[str, Sequence[tuple[str, str]]],
) -> list[Diagnosis]:
    """Say which of the limits on the operator do not hold, and who changed a policy by hand."""
    missing = await guardrails.limits_missing(client, home=home, tenants=tenants, targets=targets)
    said = [
        failed("limits", each.message, UPGRADE)
        for each in missing
        if each.reason is not guardrails.Guardrail.KIND  # `kinds` speaks of those
    ]
    changed = [
        doubtful(
            "policies",
            f"{each} after it was installed",
            f"look at what was changed; {UPGRADE} puts it back",
        )
        for each in await _changed_by_others(client)
    ]
    if not said:
        count = len(guardrails.MUTATING) + len(guardrails.VALIDATING)
        said = [well("limits", f"all {count} policies are there, and refuse what they must")]
    return said + changed


async def _changed_by_others(client: KubeClient) -> list[str]:
    """Return who else wrote a policy's spec than whoever wrote those of most.

    What somebody means to hide is not found by this: a client says itself what it is called.
    """
    names = [("Mutating", n) for n in guardrails.MUTATING] + [
        ("Validating", n) for n in guardrails.VALIDATING
    ]
    objects = await asyncio.gather(
        *(
            _read(client, f"{guardrails.ADMISSION}/{kind.lower()}admissionpolic{ending}/{name}")
            for kind, name in names
            for ending in ("ies", "ybindings")
        )
    )
    writers = [_writers(each) for each in objects]
    usual = Counter(who for each in writers for who in each).most_common(1)
    if not usual:
        return []
    labels = [f"{k}AdmissionPolicy{b} '{n}'" for k, n in names for b in ("", "Binding")]
    return [
        f"{label} was changed by '{who}' at {when}"
        for label, each in zip(labels, writers, strict=True)
        for who, when in each.items()
        if who != usual[0][0]
    ]


def _writers(policy: Object | str) -> dict[str, str]:
    """Return who wrote a spec, and when last."""
    if isinstance(policy, str):
        return {}
    fields = policy.get("metadata", {}).get("managedFields", ())
    wrote = (f for f in fields if "f:spec" in f.get("fieldsV1", {}) and not f.get("subresource"))
    return {str(f.get("manager", "")): str(f.get("time", "")) for f in wrote}


async def namespaces(
    client: KubeClient, tenants: Iterable[str], targets: Iterable[str]
) -> list[Diagnosis]:
    """Say whether the namespaces of the chart's values exist."""
    roles = {each: "targets" for each in targets} | {each: "tenants" for each in tenants}
    if not roles:
        return [doubtful("namespaces", "none is enrolled", "name some in the value `tenants`")]
    names = sorted(roles)
    found = await asyncio.gather(*(_read(client, f"/api/v1/namespaces/{n}") for n in names))
    said = list(_strays(zip(names, found, strict=True), roles))
    return said or [well("namespaces", f"{', '.join(names)} exist")]


def _strays(
    found: Iterable[tuple[str, Object | str]], roles: Mapping[str, str]
) -> Iterator[Diagnosis]:
    for name, namespace in found:
        value = roles[name]
        if isinstance(namespace, str):
            what = f"'{name}', which the value `{value}` names, cannot be read ({namespace})"
            yield failed("namespaces", what, f"make it, or take it off `{value}`")
        elif namespace.get("status", {}).get("phase") != "Active":
            what = f"'{name}', which the value `{value}` names, is being deleted"
            yield doubtful("namespaces", what, f"take it off `{value}`")


async def key(client: KubeClient, home: str, generation: int = 1) -> tuple[Diagnosis, bytes]:
    """Say whether the signing key is there; return its seed as well, or nothing."""
    name = name_of(generation)
    try:
        seed = await read_seed(client, home, generation)
    except NotFound:
        what = f"there is no Secret '{name}' in namespace '{home}'"
        remedy = "before the first start that is so; afterwards restore it from a backup"
        return failed("signing key", what, remedy), b""
    except Forbidden:
        what = f"Secret '{name}' in namespace '{home}' may not be read"
        return failed("signing key", what, UPGRADE), b""
    except SigningKeyUnusable as error:
        return failed("signing key", error.what, "restore it from a backup"), b""
    return well("signing key", f"Secret '{name}' holds a key"), seed


async def _read(client: KubeClient, path: str) -> dict[str, Any] | str:
    try:
        return await client.get(path)
    except NotFound:
        return "not found"
    except Forbidden:
        return "not allowed"
