"""What `taskpass doctor` looks at, in which order, and as whom."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from taskpass.cli.doctor import checks, posture
from taskpass.cli.doctor.rights import compare, needed
from taskpass.core.errors import (
    ApiError,
    Forbidden,
    NotFound,
    ProviderUnavailable,
    SigningKeyUnusable,
    TaskpassError,
    TransientError,
    UsageError,
)
from taskpass.core.model.diagnosis import Diagnosis, doubtful, failed, well
from taskpass.core.model.task import CredentialClass
from taskpass.kube.api import connection
from taskpass.kube.api.client import KubeClient
from taskpass.kube.cache.convert import class_from
from taskpass.kube.kinds import CREDENTIAL_CLASS
from taskpass.ledger.log.key_file import read_seed_file
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner, verify_signature
from taskpass.ledger.store import volume as ledger_volume
from taskpass.providers.kubernetes import KubernetesProvider
from taskpass.runtime.background import roles_of
from taskpass.runtime.clock import SystemClock
from taskpass.runtime.settings import Settings, load
from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    PublicKey,
    open_checkpoint,
    parse_body,
    parse_note,
)

DEPLOYMENT = "taskpass"
READYZ_SECONDS = 5.0
MENDING = "docs/troubleshooting.md, 'The operator does not get ready', says what to do"
Said = Diagnosis | Sequence[Diagnosis]


@dataclass(slots=True, kw_only=True)
class Examination:
    """One look at everything."""

    namespace: str
    """The operator's."""
    kubeconfig: Path | None
    """None: this is a pod with the operator's ServiceAccount."""
    operator: str | None
    """`host:port` of its probes; None for where they must be."""
    volume: bool
    """Whether the ledger's volume is mounted here."""
    environment: Mapping[str, str]
    unanswered: bool = False
    """Whether something could not be found out, as nobody answered."""
    _said: list[Diagnosis] = field(default_factory=list)

    async def run(self) -> list[Diagnosis]:
        """Return what was found.

        Raises:
            UsageError: There is nothing that could be looked at.
            ApiUnavailable: The API server does not answer at all.

        """
        async with AsyncExitStack() as stack:
            if self.kubeconfig is None:
                await self._inside(stack)
            else:
                await self._outside(stack, str(self.kubeconfig))
        return self._said

    async def _inside(self, stack: AsyncExitStack) -> None:
        if not connection.MOUNT.exists():
            raise UsageError("No cluster: run it in the operator's pod, or say --kubeconfig FILE")
        settings = load({"namespace": self.namespace}, self.environment)
        client = await stack.enter_async_context(KubeClient.in_cluster())
        self._said.append(await checks.version(client))
        await self._cluster(client, settings)
        if self.volume:
            self._said.append(await asyncio.to_thread(ledger_volume.examine, settings.ledger_path))
        address = self.operator or f"127.0.0.1:{settings.http_port}"
        await self._tell("operator", _ready_at(address))

    async def _outside(self, stack: AsyncExitStack, kubeconfig: str) -> None:
        client = await stack.enter_async_context(KubeClient.from_kubeconfig(kubeconfig))
        self._said.append(await checks.version(client))
        deployment = await self._deployment(client)
        pod = deployment["spec"]["template"]["spec"]
        user = f"system:serviceaccount:{self.namespace}:{pod.get('serviceAccountName', 'default')}"
        as_operator = KubeClient.from_kubeconfig(
            kubeconfig, impersonate=[("Impersonate-User", user)]
        )
        await stack.enter_async_context(as_operator)
        await self._cluster(as_operator, _settings_of(deployment, self.namespace))
        await self._tell("ledger volume", _claim(client, self.namespace, pod))
        if self.operator:
            await self._tell("operator", _ready_at(self.operator))
        else:
            await self._tell("operator", _ready_by_proxy(client, self.namespace))

    async def _deployment(self, client: KubeClient) -> dict[str, Any]:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{DEPLOYMENT}"
        try:
            return await client.get(path)
        except NotFound as error:
            raise UsageError(
                f"There is no Deployment '{DEPLOYMENT}' in namespace '{self.namespace}'; name the "
                "operator's with --namespace, or install the chart"
            ) from error
        except Forbidden as error:
            raise UsageError(
                f"{error}; use a kubeconfig of somebody who may read it and impersonate the "
                "operator"
            ) from error

    async def _cluster(self, client: KubeClient, settings: Settings) -> None:
        """Look at everything that the API server knows, as the operator."""
        home, tenants, targets = settings.namespace, settings.tenants, roles_of(settings)
        await self._tell("clock", checks.clock(client, SystemClock().now))
        await self._tell("crds", checks.kinds(client))
        await self._tell(
            "limits", checks.limits(client, home=home, tenants=tenants, targets=targets)
        )
        await self._tell("namespaces", checks.namespaces(client, tenants, targets))
        await self._tell("pod security", posture.pod_security(client, tenants))
        await self._tell(
            "rights",
            compare(
                client,
                needed(
                    home,
                    tenants,
                    targets,
                    settings.signing_key_generation,
                    read_api=settings.read_api_tls_directory is not None,
                ),
            ),
        )
        await self._tell("classes", _classes(client, settings))
        self._said += posture.retired(settings.postgresql_retired)
        await self._tell("grants", posture.grants(client, targets))
        await self._tell("signing key", self._key(client, settings))

    async def _key(self, client: KubeClient, settings: Settings) -> Diagnosis:
        if settings.signing_key_file is not None:
            return _key_file(settings.signing_key_file, here=self.kubeconfig is None)
        said, seed = await checks.key(client, settings.namespace, settings.signing_key_generation)
        if not seed or not self.volume or self.kubeconfig is not None:
            return said
        return await asyncio.to_thread(_signs, seed, settings.ledger_path) or said

    async def _tell(self, about: str, check: Awaitable[Said]) -> None:
        """Keep what a check says; one that is not let, or not answered, says that."""
        try:
            said = await check
        except (TransientError, ApiError) as error:
            self.unanswered |= isinstance(error, TransientError)
            said = failed(about, f"it could not be found out: {error}", "try again as somebody else"
                          if isinstance(error, Forbidden) else "try again")  # fmt: skip
        self._said += [said] if isinstance(said, Diagnosis) else said


def _settings_of(deployment: Mapping[str, Any], namespace: str) -> Settings:
    """Return the settings that a Deployment gives to the operator."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    given = {e["name"]: e["value"] for c in containers for e in c.get("env", ()) if "value" in e}
    return load({"namespace": namespace}, given)


async def _classes(client: KubeClient, settings: Settings) -> list[Diagnosis]:
    """Say of every class whether it can be issued.

    Of provider Kubernetes its roles are looked at here; what other providers say is known to the
    operator alone, which writes it into the class's condition.
    """
    items, _ = await client.list(CREDENTIAL_CLASS.path())
    provider = KubernetesProvider(
        client, server=settings.cluster_server, ca="", clock=SystemClock(),
        targets=roles_of(settings), audiences=settings.token_audiences,
        harmless=settings.harmless,
    )  # fmt: skip
    ours = [class_from(item) for item in items]
    problems = []
    for each, item in zip(ours, items, strict=True):
        try:
            obstacles = (
                await provider.obstacles(each)
                if each.provider == "Kubernetes"
                else _not_ready(each, item)
            )
        except ProviderUnavailable as error:
            raise TransientError(str(error)) from error
        problems += [
            failed(f"class {each.name}", obstacle, "see docs/api/credentialclass.md")
            for obstacle in obstacles
        ]
    if not ours:
        return [doubtful("classes", "there is no CredentialClass", "make one: examples/")]
    names = ", ".join(each.name for each in ours)
    return problems or [well("classes", f"{names} can be issued")]


def _not_ready(credential_class: CredentialClass, item: Mapping[str, Any]) -> list[str]:
    """Return why a class is not Ready, as the operator wrote it; empty where it is."""
    said = (item.get("status") or {}).get("conditions") or ()
    of_now = (c for c in said if c.get("observedGeneration") == credential_class.generation)
    ready = next((c for c in of_now if c["type"] == "Ready"), None)
    if ready is None:
        return ["the operator has not yet said whether it can be issued"]
    return [] if ready["status"] == "True" else [str(ready["message"])]


def _key_file(path: Path, *, here: bool) -> Diagnosis:
    if here:
        try:
            read_seed_file(path)
        except SigningKeyUnusable as error:
            remedy = error.remedy or "mount the file that it was signed with"
            return failed("signing key", error.what, remedy)
    return well("signing key", f"the operator reads it from the file {path}")


def _signs(seed: bytes, ledger: Path) -> Diagnosis | None:
    """Say that the key does not sign the ledger here; None where it does, or there is none."""
    if not ledger.exists():
        return None
    public = SeedSigner(seed).public_key
    try:
        with reading(ledger) as log:
            origin = parse_body(parse_note(log.note)[0]).origin
            open_checkpoint(log.note, PublicKey(origin, public), verify_signature)
    except BadCheckpoint:
        return failed(
            "signing key",
            f"it is not the one that signs the ledger {ledger}",
            "restore the Secret from a backup, or give the operator the volume that belongs to it",
        )
    except TaskpassError as error:
        return failed("signing key", f"the ledger cannot be read: {error}", "taskpass audit verify")
    return None


async def _claim(client: KubeClient, namespace: str, pod: Mapping[str, Any]) -> Diagnosis:
    claims = [
        v["persistentVolumeClaim"]["claimName"]
        for v in pod.get("volumes", ())
        if v["name"] == "ledger" and "persistentVolumeClaim" in v
    ]
    if not claims:
        return failed("ledger volume", "the Deployment mounts none", checks.UPGRADE)
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claims[0]}"
    try:
        phase = (await client.get(path)).get("status", {}).get("phase", "unknown")
    except NotFound:
        phase = "not there"
    what = f"PersistentVolumeClaim '{claims[0]}' is {phase}"
    if phase != "Bound":
        return failed("ledger volume", what, f"kubectl -n {namespace} describe pvc {claims[0]}")
    return well("ledger volume", f"{what}; the doctor in the operator's pod sees its space")


async def _ready_at(address: str) -> list[Diagnosis]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--operator must be HOST:PORT, not '{address}'")
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/readyz"
    timeout = aiohttp.ClientTimeout(total=READYZ_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return _ready(answer.status, await answer.text())
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        what = f"it does not answer at {address} ({type(error).__name__})"
        return [failed("operator", what, "look at its log")]


async def _ready_by_proxy(client: KubeClient, namespace: str) -> list[Diagnosis]:
    service = f"/api/v1/namespaces/{namespace}/services/{DEPLOYMENT}:http/proxy/readyz"
    status, text, _ = await client.fetch(service)
    if status == 503 and not text.startswith("ledger: "):
        what = "its Service has no pod that is ready"
        remedy = f"kubectl -n {namespace} logs deploy/{DEPLOYMENT}"
        return [failed("operator", what, remedy)]
    return _ready(status, text)


def _ready(status: int, text: str) -> list[Diagnosis]:
    """Say what `/readyz` answered."""
    if status == 200:
        return [well("operator", "it is ready")]
    if status == 503:
        missing = [line for line in text.splitlines() if not line.endswith(": ok")]
        return [failed("operator", f"it is not ready; {line}", MENDING) for line in missing]
    return [failed("operator", f"/readyz answered {status}", "is that the operator's address?")]
