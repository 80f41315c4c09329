"""The task's Secret on a real API server: nobody else's is read, replaced or deleted."""

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from e2e.admission import TENANT, collector, secret, wait_for
from e2e.as_operator import its_secret, without
from e2e.impersonate import Api, Object, Refused
from taskpass.core.errors import ApiUnavailable, SecretNameTaken
from taskpass.core.model.grant import SecretValue
from taskpass.core.model.task import Task
from taskpass.kube.api.client import KubeClient
from taskpass.kube.writers.secrets import SecretSink
from taskpass.ports.credentials import Delivery

KEY = "tickets.token"


def delivery(of: Task, token: str = "canary-1") -> Delivery:
    index = {"credentials": [{"name": "tickets"}]}
    return Delivery(task=of, fields={KEY: SecretValue(token.encode())}, index=index)


def content(api: Api, name: str) -> dict[str, str]:
    live = api.get("Secret", TENANT, f"taskpass-{name}")
    return {key: base64.b64decode(value).decode() for key, value in live["data"].items()}


class LosesAnswers:
    """The client; the answer to one kind of call is lost after it was carried out, once."""

    def __init__(self, client: KubeClient, verb: str) -> None:
        self._client, self._verb = client, verb

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name != self._verb:
            return call
        self._verb = ""

        async def lost(*arguments: Any, **more: Any) -> Mapping[str, Any]:
            await call(*arguments, **more)
            raise ApiUnavailable("no answer")

        return lost


class TestSecret:
    async def test_it_is_made_with_what_the_agent_reads(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        uid = await SecretSink(client).deliver(delivery(made))

        live = api.get("Secret", TENANT, f"taskpass-{made.name}")
        assert content(api, made.name)[KEY] == "canary-1"
        assert json.loads(content(api, made.name)["taskpass.json"]) == {
            "credentials": [{"name": "tickets"}]
        }
        assert live["metadata"]["uid"] == uid
        assert live["metadata"]["ownerReferences"][0]["uid"] == made.uid
        assert live["type"] == "taskpass.dev/credentials"

    async def test_it_is_replaced_whole_and_stays_the_same_object(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        sink = SecretSink(client)
        first = await sink.deliver(delivery(made))
        other = Delivery(task=made, fields={"other.token": SecretValue(b"2")}, index={})

        second = await sink.deliver(other)

        assert second == first
        assert sorted(content(api, made.name)) == ["other.token", "taskpass.json"]

    async def test_a_lost_answer_is_found_out_by_a_second_write(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        sink = SecretSink(LosesAnswers(client, "create"))

        uid = await sink.deliver(delivery(made))

        assert uid == api.get("Secret", TENANT, f"taskpass-{made.name}")["metadata"]["uid"]

    async def test_a_foreign_secret_of_its_name_is_left_alone(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        foreign = secret(f"taskpass-{made.name}", type="Opaque", data={KEY: "Zm9yZWlnbg=="})
        foreign.pop("stringData")
        _plant(api, foreign)
        sink = SecretSink(client)

        with pytest.raises(SecretNameTaken, match="delete it, or give the task another name"):
            await sink.deliver(delivery(made))
        await sink.withdraw(TENANT, made.name, made.uid, "")
        await sink.withdraw(TENANT, made.name, made.uid, str(uuid.uuid4()))

        assert content(api, made.name) == {KEY: "foreign"}

    async def test_the_secret_of_an_earlier_task_of_the_name_is_not_taken_over(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        sink = SecretSink(client)
        await sink.deliver(delivery(made))
        remade = replace(made, uid=str(uuid.uuid4()))

        with pytest.raises(SecretNameTaken):
            await sink.deliver(delivery(remade, "canary-2"))
        await sink.withdraw(TENANT, remade.name, remade.uid, "")

        assert content(api, made.name)[KEY] == "canary-1"

    async def test_it_is_withdrawn_by_its_uid(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        sink = SecretSink(client)
        uid = await sink.deliver(delivery(made))

        await sink.withdraw(TENANT, made.name, made.uid, uid)
        await sink.withdraw(TENANT, made.name, made.uid, uid)

        assert not api.exists(its_secret(made.name))

    async def test_it_is_withdrawn_without_a_known_uid(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        sink = SecretSink(client)
        await sink.deliver(delivery(made))

        await sink.withdraw(TENANT, made.name, made.uid, "")
        await sink.withdraw(TENANT, made.name, made.uid, "")

        assert not api.exists(its_secret(made.name))

    async def test_one_that_nobody_owns_any_more_is_withdrawn_without_a_known_uid(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        """Its task was orphaned, so the garbage collector will never come for it."""
        sink = SecretSink(client)
        await sink.deliver(delivery(made))
        collector(api).merge(its_secret(made.name), {"metadata": {"ownerReferences": None}})

        await sink.withdraw(TENANT, made.name, made.uid, "")

        assert not api.exists(its_secret(made.name))


def _plant(api: Api, foreign: Object) -> None:
    """Make a Secret that could only be made before our policies were there."""
    with without(api, "validatingadmissionpolicybindings", "taskpass-credentials"):
        wait_for(lambda: _created(api, foreign))
    probe = secret("taskpass-probe", type="Opaque")
    wait_for(lambda: not _created(api, probe, dryRun="All"))


def _created(api: Api, what: Object, **query: str) -> bool:
    try:
        api.create(what, **query)
    except Refused:
        return False
    return True
