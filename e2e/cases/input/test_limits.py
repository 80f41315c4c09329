"""One over every limit of our schemas, and names at and over their length, on the real thing."""

import pytest
from limits import Excess, excesses, full, variants

from e2e.admission import GROUP, TENANT, pod, task
from e2e.impersonate import PATHS, Api, Object, Refused, thing

WITHOUT_STAMPS = ("AgentTask", "AgentPolicy", "ClusterAgentPolicy", "CredentialClass")


def placed(body: Object) -> Object:
    if "{namespace}" in PATHS[body["kind"]]:
        body["metadata"]["namespace"] = TENANT
    body["spec"].pop("templateRef", None)  # nobody but the operator may say that
    return body


@pytest.mark.parametrize(
    ("kind", "variant"), [each for each in variants() if each[0] in WITHOUT_STAMPS]
)
def test_an_object_that_has_every_field_is_accepted(api: Api, kind: str, variant: str) -> None:
    body = placed(full(kind, variant))

    assert api.create(body, dryRun="All", fieldValidation="Strict")["metadata"]


@pytest.mark.parametrize("excess", list(excesses()), ids=str)
def test_what_is_one_over_a_limit_is_refused(api: Api, excess: Excess) -> None:
    with pytest.raises(Refused) as refused:
        api.create(placed(excess.thing), dryRun="All", fieldValidation="Strict")

    assert refused.value.status == 422
    assert excess.message in refused.value.message
    last = next(part for part in reversed(excess.path) if isinstance(part, str))
    assert last in refused.value.message


def test_a_task_may_have_a_name_of_63_characters_and_so_may_its_pod(alice: Api) -> None:
    longest = "t" * 63

    made = alice.create(task(longest), dryRun="All")
    its_pod = alice.create(pod(longest), dryRun="All")

    assert made["metadata"]["name"] == longest
    [ours] = [v for v in its_pod["spec"]["volumes"] if v["name"] == "taskpass"]
    assert {"secret": {"name": f"taskpass-{longest}", "optional": True}} in ours["projected"][
        "sources"
    ]


def test_a_task_may_not_have_a_name_of_64_characters(alice: Api) -> None:
    with pytest.raises(Refused, match="a DNS label of at most 63 characters"):
        alice.create(task("t" * 64), dryRun="All")


def test_a_pod_may_not_carry_a_label_of_64_characters(alice: Api) -> None:
    with pytest.raises(Refused, match=r"must be no more than 63 (bytes|characters)"):
        alice.create(pod("t" * 64), dryRun="All")


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("AgentPolicy", {"effect": "Deny"}),
        ("ClusterAgentPolicy", {"effect": "Deny"}),
        ("CredentialClass", full("CredentialClass")["spec"]),
    ],
)
def test_other_names_end_at_253_characters(api: Api, kind: str, spec: Object) -> None:
    namespace = TENANT if "{namespace}" in PATHS[kind] else ""

    made = api.create(thing(GROUP, kind, namespace, "n" * 253, spec=spec), dryRun="All")

    assert made["metadata"]["name"] == "n" * 253
    with pytest.raises(Refused, match="must be no more than 253"):
        api.create(thing(GROUP, kind, namespace, "n" * 254, spec=spec), dryRun="All")


@pytest.mark.parametrize(
    ("account", "said"),
    [
        pytest.param("nobody", 'serviceaccount "nobody" not found', id="one that is not there"),
    ],
)
def test_a_pod_without_its_service_account_is_refused(
    alice: Api, name: str, account: str, said: str
) -> None:
    with pytest.raises(Refused, match=said) as refused:
        alice.create(pod(name, spec={"serviceAccountName": account}))

    assert refused.value.status == 403
