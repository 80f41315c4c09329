"""The operator's rights, compared with what a scripted API server says of them."""

import json
from typing import Any

from taskpass.cli.doctor.rights import AUTHORIZATION, Right, compare, needed
from taskpass.core.model.diagnosis import Diagnosis, Level
from tests.unit.kube.scripted_server import Answer, Script

RULES = f"POST {AUTHORIZATION}/selfsubjectrulesreviews"
ACCESS = f"POST {AUTHORIZATION}/selfsubjectaccessreviews"
READ_PODS = Right("get", "pods", namespace="support")
ONE_SECRET = Right("get", "secrets", name="key", namespace="support")
NAMESPACES = Right("list", "namespaces")


def rule(verbs: str, resource: str, group: str = "", *names: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "verbs": verbs.split(), "apiGroups": [group], "resources": [resource],
    }  # fmt: skip
    return made | ({"resourceNames": list(names)} if names else {})


async def ask(
    script: Script, *rules: dict[str, Any], rights: tuple[Right, ...] = (READ_PODS,)
) -> list[Diagnosis]:
    script.on(RULES, Answer({"status": {"resourceRules": list(rules), "incomplete": True}}, 201))
    if not script.answers.get(ACCESS):
        script.on(ACCESS, Answer({"status": {"allowed": False}}, 201))
    async with script.client() as client:
        return await compare(client, rights)


async def test_exactly_what_is_needed_is_well(script: Script) -> None:
    said = await ask(
        script,
        rule("get", "pods"),
        rule("get", "secrets", "", "key"),
        rule("list", "namespaces"),
        rights=(READ_PODS, ONE_SECRET, NAMESPACES),
    )

    assert [(each.level, each.what) for each in said] == [
        (Level.OK, "the 2 that are needed, and no others")
    ]


async def test_what_is_missing_fails_and_is_named(script: Script) -> None:
    said = await ask(script, rule("list", "pods"), rights=(READ_PODS, NAMESPACES))

    assert (said[0].level, said[0].about) == (Level.FAILED, "rights in support")
    assert said[0].what == "the operator may not get pods, list namespaces"
    assert said[0].remedy.startswith("upgrade the chart with the same values")


async def test_what_the_list_of_rules_lacks_is_asked_for_singly(script: Script) -> None:
    script.on(ACCESS, Answer({"status": {"allowed": True}}, 201))

    said = await ask(script, rights=(ONE_SECRET,))

    assert [each.level for each in said] == [Level.OK]
    asked = json.loads(script.bodies[-1])["spec"]["resourceAttributes"]
    assert asked == {"verb": "get", "resource": "secrets", "name": "key", "namespace": "support"}


async def test_a_right_on_one_name_is_not_that_on_another(script: Script) -> None:
    said = await ask(script, rule("get", "secrets", "", "other"), rights=(ONE_SECRET,))

    assert said[0].what == "the operator may not get secrets 'key'"
    assert said[1].what == "the operator may get secrets 'other', which it does not need"


async def test_what_is_beyond_is_a_warning(script: Script) -> None:
    said = await ask(script, rule("get", "pods"), rule("get", "secrets"))

    assert [(each.level, each.what) for each in said] == [
        (Level.WARNING, "the operator may get secrets, which it does not need")
    ]


async def test_everything_is_beyond_and_lacks_nothing(script: Script) -> None:
    said = await ask(script, rule("*", "*", "*"))

    assert [(each.level, each.what) for each in said] == [
        (Level.WARNING, "the operator may * *.*, which it does not need")
    ]


async def test_of_many_some_are_named(script: Script) -> None:
    said = await ask(script, rule("a b c d e f", "pods"), rule("get", "pods"))

    assert said[0].what == (
        "the operator may a pods, b pods, c pods, d pods and 2 more, which it does not need"
    )


async def test_what_kubernetes_lets_everybody_do_is_nobodys_mistake(script: Script) -> None:
    said = await ask(
        script,
        rule("get", "pods"),
        rule("create", "selfsubjectrulesreviews", "authorization.k8s.io"),
    )

    assert [each.level for each in said] == [Level.OK]


def test_a_role_of_the_namespace_is_read_and_bound_there_and_a_cluster_role_read_everywhere() -> (
    None
):
    rights = needed("home", [], {"tickets": [("ClusterRole", "a"), ("Role", "b")]})
    group = "rbac.authorization.k8s.io"

    assert {r for r in rights if r.group == group and r.name} == {
        Right("bind", "clusterroles", group, "a", "tickets"),
        Right("get", "clusterroles", group, "a"),
        Right("bind", "roles", group, "b", "tickets"),
        Right("get", "roles", group, "b", "tickets"),
    }
