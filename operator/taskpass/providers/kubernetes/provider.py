"""Credentials for the Kubernetes API: a ServiceAccount of its own for each grant.

What a grant makes, and in which order:

1. The roles are read: each must exist, open no stream, as a stream that is open goes on after
   revocation, and lead to no other credential, which would stay. A digest of their rules is
   remembered: rules widen silently.
2. SubjectAccessReview must say no: what the ServiceAccount may do already, by a binding to a group
   of all ServiceAccounts, could not be taken back.
3. A ServiceAccount `<grant id>` in the grants namespace, and for each role in each target
   namespace a RoleBinding `taskpass-<grant id>-<n>`.
4. A token by TokenRequest, handed over once SubjectAccessReview says yes. ServiceAccount and token
   are made beside the bindings: neither is worth anything without the other.

What 1 and the first review say is as true of the next grant, and asked for at most every 2 s.

Revocation deletes the RoleBindings, which ends access at once, then the ServiceAccount, with which
the token dies within 10 s (the API server's own cache). Proof is the API server's answer that the
object is gone and waits for no finalizer, or a look that finds none of the recorded name, or only
one that is none of the grant's. TokenReview cannot be asked: no token is kept.
A create whose answer was lost may still be carried out after its revocation: `inventory` finds it.
"""

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from taskpass.core.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ProviderRefused,
    ProviderUnavailable,
)
from taskpass.core.model.capabilities import Capabilities
from taskpass.core.model.grant import Grant, Issued
from taskpass.core.model.task import CredentialClass, CredentialRequest, digest
from taskpass.ports.clock import Clock
from taskpass.ports.cluster import ApiClient
from taskpass.providers.kubernetes.access import must_be_new, reviews_of, wait_until_effective
from taskpass.providers.kubernetes.calls import listed, together
from taskpass.providers.kubernetes.capabilities import capabilities_of
from taskpass.providers.kubernetes.objects import (
    GRANT_LABEL,
    PUBLIC_FIELDS,
    bindings_path,
    credential_fields,
    credential_ref,
    grant_of_binding,
    is_grant_id,
    role_binding,
    role_path,
    service_account,
    service_accounts_path,
    time_from,
    token_request,
)
from taskpass.providers.kubernetes.recent import RecentAnswers
from taskpass.providers.kubernetes.removal import remove
from taskpass.providers.kubernetes.roles import (
    privilege_escalation,
    representative,
    rules_digest,
    streams,
)
from taskpass.providers.kubernetes.state import State, initial_state
from taskpass.providers.kubernetes.words import in_words

NO_TARGETS: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType({})
logger = logging.getLogger(__name__)


class KubernetesProvider:
    """`ports.CredentialProvider`."""

    def __init__(
        self,
        client: ApiClient,
        *,
        server: str,
        ca: str,
        clock: Clock,
        grants_namespace: str = "taskpass-grants",
        targets: Mapping[str, Sequence[tuple[str, str]]] = NO_TARGETS,
        audiences: Collection[str] = (),
        harmless: Collection[tuple[str, str]] = (),
    ) -> None:
        """`server` and `ca` (PEM) go into kubeconfigs; a request's location replaces the server.

        `targets` are the roles, as (kind, name), that may be bound in each namespace; `inventory`
        looks for bindings in all of these. `audiences` are those that a class may name;
        `harmless` are (group, resource) that roles may write beside what is known to lead nowhere.
        """
        self._client = client
        self._server = server
        self._ca = ca
        self._grants = grants_namespace
        self._targets = targets
        self._audiences = audiences
        self._harmless = harmless
        self._clock = clock
        self._rules: RecentAnswers[list[dict[str, Any]] | None] = RecentAnswers(
            clock.monotonic, keep=lambda rules: rules is not None
        )
        self._given: RecentAnswers[bool] = RecentAnswers(
            clock.monotonic, keep=lambda given: not given
        )

    def capabilities(self, credential_class: CredentialClass) -> Capabilities:
        """Return what `capabilities_of` says of it."""
        return capabilities_of(credential_class)

    def problem(self, credential_class: CredentialClass) -> str | None:
        """See `ports.CredentialProvider`: a role may keep it from that, or its tokens' audience."""
        audience = credential_class.config.get("audience", "")
        if audience and audience not in self._audiences:
            return (
                f"Tokens may not have the audience '{audience}'; an administrator lists it in the "
                "value `tokenAudiences` of the chart"
            )
        for namespace in credential_class.config["namespaces"]:
            listed = self._targets.get(namespace, ())
            for role in credential_class.config["roles"]:
                if (role["kind"], role["name"]) not in listed:
                    return (
                        f"{role['kind']} '{role['name']}' may not be bound in namespace "
                        f"'{namespace}'; an administrator lists it in the value `targets` of the "
                        "chart"
                    )
        return None

    async def obstacles(self, credential_class: CredentialClass) -> list[str]:
        """Return what would be refused at issue, each once; nothing is made.

        Raises:
            ProviderUnavailable: It could not be found out.

        """
        if problem := self.problem(credential_class):
            return [problem]
        found: dict[str, None] = {}
        for role in credential_class.config["roles"]:
            for namespace in credential_class.config["namespaces"]:
                request = CredentialRequest(
                    name="doctor",
                    class_name=credential_class.name,
                    actions=(role["action"],),
                    resources=(f"namespace/{namespace}",),
                )
                try:
                    with _issuing():
                        await self._read_roles(
                            State(self.prepare(request, credential_class, "doctor"))
                        )
                except ProviderRefused as refusal:
                    found[str(refusal)] = None
        return list(found)

    def prepare(
        self, request: CredentialRequest, credential_class: CredentialClass, grant_id: str
    ) -> Mapping[str, Any]:
        """Return the names of all that will be made. Pure.

        Raises:
            ProviderRefused: `resources` names no namespace, or one that the class does not list.

        """
        return initial_state(request, credential_class, grant_id, self._grants, self._server)

    async def permissions_digest(self, credential_class: CredentialClass) -> str:
        """Return a digest of the rules of every role that the class binds, by where it is.

        Raises:
            ProviderUnavailable, ProviderRefused: See `ports.CredentialProvider`.

        """
        config = credential_class.config
        roles = [
            {"role_kind": r["kind"], "role_name": r["name"], "namespace": n}
            for r in config["roles"]
            for n in config["namespaces"]
        ]
        paths = list(dict.fromkeys(role_path(role) for role in roles))
        self._rules.forget()  # no credential is issued by older rules than people were shown
        with _issuing():
            answers = await together(*(self._read_role(path) for path in paths))
        return digest(dict(zip(paths, answers, strict=True)))

    async def describe(self, credential_class: CredentialClass, actions: Sequence[str]) -> str:
        """Return the role of each action, where it is bound, and what its rules grant.

        Raises:
            ProviderUnavailable, ProviderRefused: See `ports.CredentialProvider`.

        """
        config = credential_class.config
        said = []
        with _issuing():
            for role in (each for each in config["roles"] if each["action"] in actions):
                where = config["namespaces"] if role["kind"] == "Role" else config["namespaces"][:1]
                for namespace in where:
                    kind, name = role["kind"], role["name"]
                    path = {"role_kind": kind, "role_name": name, "namespace": namespace}
                    rules = await self._rules.get(
                        "", role_path(path), partial(self._read_role, role_path(path))
                    )
                    said.append(f"{kind} {name} ({in_words(rules or [])})")
        namespaces = ", ".join(config["namespaces"])
        return f"{', '.join(dict.fromkeys(said))} in {namespaces}"

    async def issue(self, grant: Grant, audience: str) -> Issued:
        """Issue what `grant.provider_state` says. Usable on return.

        The audience is the class's, as recorded; `audience`, that of the agent's identity, is not
        for these tokens.
        """
        state = State(grant.provider_state)
        with _issuing():
            rules = await self._read_roles(state, grant.task.namespace)
            reviews = reviews_of(state, rules)
            try:
                await must_be_new(self._client, grant.task.namespace, state, reviews, self._given)
            except ProviderRefused:
                # Said of a grant of which something is there, it may speak of our own bindings:
                # an earlier try that got this far had asked before it made anything.
                if not await self._has_begun(grant, state):
                    raise
            token, *_ = await together(
                self._make_token(grant, state),
                *(self._make_binding(grant, state, each) for each in state.bindings),
            )
            await wait_until_effective(self._client, reviews, self._clock.monotonic)
        status = token["status"]
        return Issued(
            provider_state=state.as_json(),
            expires_at=time_from(status["expirationTimestamp"]),
            credential_ref=credential_ref(status["token"]) or state.service_account_uid,
            fields=credential_fields(status["token"], state, self._ca),
            primary="token",
            public=PUBLIC_FIELDS,
            gives=_gives(state, rules),
        )

    async def revoke(self, grant: Grant) -> None:
        """Delete bindings, then the ServiceAccount; return once none of them is there.

        A record that is not what was prepared for the grant was edited: by it somebody else's
        credential would be deleted, and this one counted as gone. What is found under the grant's
        own names is deleted then, and nothing counts as gone: what is not found may be where the
        true record says.
        """
        state = State.fitting(grant, self._grants)
        if state is not None:
            await remove(self._client, state)
            return
        found = (await self.inventory()).get(grant.id)
        if found is not None:
            await remove(self._client, State(found))
        raise ProviderUnavailable(
            f"What is recorded of grant {grant.id} names objects that are not its own. What is "
            "found under its own names is deleted, and whether that is all is not known; restore a "
            "copy of the ledger that `taskpass audit verify` accepts"
        )

    async def inventory(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what exists by grant id: ServiceAccounts, and bindings in the target namespaces.

        What is ours is told by its name, which admission keeps for us, labelled or not.
        A target namespace that refuses us, or is gone, is logged and left out.
        """
        found: dict[str, State] = {}
        try:
            async for item in listed(self._client, service_accounts_path(self._grants)):
                name = item["metadata"]["name"]
                if is_grant_id(name):
                    state = found.setdefault(name, State.found(name, self._grants))
                    state.service_account_uid = item["metadata"]["uid"]
            for namespace in self._targets:
                await self._find_bindings(namespace, found)
        except ApiError as error:
            raise ProviderUnavailable(str(error)) from error
        return {grant_id: state.as_json() for grant_id, state in found.items()}

    def is_gone(self, grant: Grant, found: Mapping[str, Any] | None) -> bool:
        """Tell whether the grant's ServiceAccount is gone, and its token with it.

        A binding that a target's administrator takes away is their decision; the credential then
        opens nothing there, and is not issued anew against it.
        """
        recorded = grant.provider_state.get("service_account_uid")
        return found is None or State(found).service_account_uid != recorded

    def surplus(self, grant: Grant, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the bindings under the grant's name that it does not record, as `undo` takes them.

        Names are recorded before the first call, so none of them can be one that is being made. A
        record that is not the grant's says of none that it is too much.
        """
        believed = State.fitting(grant, self._grants)
        if believed is None:
            return None
        recorded = {_bound(each) for each in believed.bindings}
        more = [each for each in State(found).bindings if _bound(each) not in recorded]
        if not more:
            return None
        state = State.found("", self._grants)
        state.bindings = more
        return state.as_json()

    async def undo(self, grant_id: str, state: Mapping[str, Any]) -> None:
        """Remove what `inventory` found and no live grant answers for."""
        await remove(self._client, State(state))

    async def _find_bindings(self, namespace: str, found: dict[str, State]) -> None:
        try:
            async for item in listed(self._client, bindings_path(namespace)):
                grant_id = grant_of_binding(item["metadata"]["name"])
                if grant_id:
                    state = found.setdefault(grant_id, State.found(grant_id, self._grants))
                    state.add_found_binding(item)
        except (Forbidden, NotFound):
            logger.warning("Target namespace was not listed", extra={"namespace": namespace})

    async def _read_roles(self, state: State, asker: str = "") -> dict[str, list[dict[str, Any]]]:
        """Return the rules of each role by path, and record their digests."""
        paths = dict.fromkeys(role_path(each) for each in state.bindings)
        answers = await together(
            *(self._rules.get(asker, path, partial(self._read_role, path)) for path in paths)
        )
        rules = dict(zip(paths, answers, strict=True))
        for each in state.bindings:
            label = f"{each['role_kind']} '{each['role_name']}'"
            found = rules[role_path(each)]
            if found is None:
                raise ProviderRefused(
                    f"{label} does not exist (for namespace '{each['namespace']}'); create it, or "
                    "name another in the CredentialClass"
                )
            if not representative(found, ()):
                raise ProviderRefused(f"{label} grants nothing in a namespace; give it rules")
            opened = streams(found)
            if opened and not state.streams_allowed:
                raise ProviderRefused(
                    f"{label} grants {opened}: a stream that is open goes on after revocation; "
                    "narrow the role, or set spec.kubernetes.streams of the CredentialClass to "
                    "Allowed"
                )
            escape = privilege_escalation(found, self._harmless)
            if escape and not state.privilege_escalation_allowed:
                raise ProviderRefused(
                    f"{label} grants {escape}: its holder could get another credential, which "
                    "revocation does not reach; narrow the role, have the resource listed in the "
                    "value `harmlessWrites` of the chart, or set "
                    "spec.kubernetes.privilegeEscalation of the CredentialClass to Allowed"
                )
            each["rules_digest"] = rules_digest(found)
        return {path: each for path, each in rules.items() if each is not None}

    async def _read_role(self, path: str) -> list[dict[str, Any]] | None:
        try:
            return (await self._client.get(path)).get("rules") or []
        except NotFound:
            return None
        except Forbidden as error:
            raise ProviderRefused(
                f"Role '{path.rpartition('/')[2]}' may not be bound: the operator may not even "
                "read it; an administrator lists it in the value `targets` of the chart"
            ) from error

    async def _has_begun(self, grant: Grant, state: State) -> bool:
        account = f"{service_accounts_path(state.grants_namespace)}/{state.service_account}"
        bindings = (f"{bindings_path(b['namespace'])}/{b['name']}" for b in state.bindings)
        for path in (account, *bindings):
            try:
                live = await self._client.get(path)
            except NotFound:
                continue
            if live["metadata"].get("labels", {}).get(GRANT_LABEL) == grant.id:
                return True
        return False

    async def _make_token(self, grant: Grant, state: State) -> dict[str, Any]:
        await self._make_service_account(grant, state)
        return await self._request_token(grant, state)

    async def _make_service_account(self, grant: Grant, state: State) -> None:
        path = service_accounts_path(state.grants_namespace)
        body = service_account(grant, state)
        live = await self._create_or_read(path, body)
        if live["metadata"].get("labels", {}).get(GRANT_LABEL) != grant.id:
            raise ProviderRefused(
                f"ServiceAccount '{grant.id}' in namespace '{state.grants_namespace}' exists and "
                "was not made by taskpass; delete it"
            )
        state.service_account_uid = live["metadata"]["uid"]

    async def _make_binding(self, grant: Grant, state: State, each: dict[str, Any]) -> None:
        body = role_binding(grant, state, each)
        live = await self._create_or_read(bindings_path(each["namespace"]), body)
        same = all(live.get(k) == body[k] for k in ("roleRef", "subjects"))
        if not same or live["metadata"].get("labels", {}).get(GRANT_LABEL) != grant.id:
            raise ProviderRefused(
                f"RoleBinding '{each['name']}' in namespace '{each['namespace']}' exists and "
                "binds something else; delete it"
            )
        each["uid"] = live["metadata"]["uid"]

    async def _create_or_read(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return await self._client.create(path, body)
        except Conflict:
            return await self._client.get(f"{path}/{body['metadata']['name']}")

    async def _request_token(self, grant: Grant, state: State) -> dict[str, Any]:
        path = f"{service_accounts_path(state.grants_namespace)}/{state.service_account}/token"
        body = token_request(state.audience, grant.lifetime_seconds)
        try:
            return await self._client.create(path, body)
        except NotFound as error:
            raise ProviderUnavailable(
                "The grant's ServiceAccount was deleted while its token was asked for; it is made "
                "anew"
            ) from error


def _gives(state: State, rules: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return what is bound, in words."""
    said: dict[str, list[str]] = {}
    for each in state.bindings:
        role = f"{each['role_kind']} {each['role_name']} ({in_words(rules[role_path(each)])})"
        said.setdefault(role, []).append(each["namespace"])
    return "; ".join(f"{role} in {', '.join(where)}" for role, where in said.items())


def _bound(binding: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a binding gives, and where it is."""
    return tuple(binding[key] for key in ("namespace", "name", "role_kind", "role_name"))


@contextlib.contextmanager
def _issuing() -> Iterator[None]:
    """Say what the API server's answers mean while a credential is being issued."""
    try:
        yield
    except (Forbidden, Invalid, NotFound) as error:
        raise ProviderRefused(str(error)) from error
    except ApiError as error:
        raise ProviderUnavailable(str(error)) from error
