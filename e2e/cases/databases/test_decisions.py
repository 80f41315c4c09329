"""What policies and people decide of databases, by what is promised and what the server tells."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e import command
from e2e.admission import TENANT, binding, cluster_role, remove
from e2e.command import Run
from e2e.impersonate import Object, thing
from e2e.postgresql.databases import (
    CLASS,
    ROLE,
    USE,
    Databases,
    database_class,
    database_policy,
)
from e2e.postgresql.stage import DATABASE, GROUP
from e2e.stage import condition, deny, request, until

DEMANDED = "only what ends within a minute, at once"
ASKED = "asked-db"
ASKING = [ROLE | {"classRef": {"name": ASKED}}]
SHOWN = f"{GROUP} on database {DATABASE} of server support (read tables of schema tickets)"


@pytest.fixture
def demanding(stage: Databases) -> Iterator[Databases]:
    """Return the stage with a policy that refuses what does not promise enough."""
    lacking = "class.revocation != 'Immediate' || class.minimumSeconds > 60"
    made = deny(
        "at-once", CLASS, "tickets", validations=[{"expression": lacking, "message": DEMANDED}]
    )
    stage.api.apply(made)
    yield stage
    remove(stage.api, made)


@pytest.fixture
def asking(stage: Databases) -> Iterator[Databases]:
    """Return the stage with a class of the database whose credentials a lead approves."""
    leads = ("ClusterRole/taskpass-approver", "Group/support-leads")
    use = (f"ClusterRole/{ASKED}", "User/alice")
    made = [
        database_class(ASKED),
        database_policy(ASKED, ASKED, approval={"approverGroups": ["support-leads"]}),
        binding("RoleBinding", TENANT, "leads", *leads),
        cluster_role(ASKED, USE | {"resourceNames": [ASKED]}),
        binding("ClusterRoleBinding", "", ASKED, *use),
    ]
    for each in made:
        stage.api.apply(each)
    yield stage
    for each in made:
        remove(stage.api, each)


@pytest.fixture
def lea(kubeconfig: str, tmp_path: Path) -> Run:
    """Return how a lead runs the command."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    config["users"][0]["user"] |= {"as": "lea", "as-groups": ["support-leads"]}
    path = tmp_path / "lea.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return lambda *arguments: command.taskpass(str(path), *arguments)


def pending(stage: Databases, name: str, but: str = "") -> Object:
    """Wait until a task asks for one approval, another than the one with a digest."""

    def seen() -> Object | None:
        asked = stage.task(name).get("status", {}).get("pendingApprovals", [])
        return next((each for each in asked if each["digest"] != but), None)

    found = until(seen, said=lambda: stage.told(name))
    assert found is not None
    return found


def test_a_policy_that_demands_an_end_at_once_allows_a_role_and_refuses_what_lives_longer(
    demanding: Databases, name: str
) -> None:
    other = f"{name}-token"
    demanding.begin(other, credentials=[request()])
    demanding.begin_ready(name, credentials=[ROLE])

    refused = demanding.wait_condition(other, "Authorized", "False")

    assert DEMANDED in condition(refused, "Authorized")["message"]
    assert demanding.accounts() == set()
    assert len(demanding.roles()) == 1


def test_a_provider_that_is_not_configured_promises_nothing_that_a_policy_could_demand(
    demanding: Databases, name: str
) -> None:
    demanding.operator.stop()
    demanding.operator.start(TASKPASS_POSTGRESQL_SERVERS="{}")
    try:
        demanding.begin(name, credentials=[ROLE])
        refused = demanding.wait_condition(name, "Authorized", "False")
    finally:
        demanding.operator.stop()
        demanding.operator.start()

    assert DEMANDED in condition(refused, "Authorized")["message"]
    demanding.wait_ready(name)


def test_a_lead_reads_what_the_role_gives_approves_it_and_is_asked_again_once_the_group_may_more(
    asking: Databases, name: str, lea: Run
) -> None:
    asking.begin(name, credentials=ASKING)
    asked = pending(asking, name)
    assert SHOWN in asked["request"]
    with asking.server.admin(DATABASE) as admin:
        admin.execute(f"GRANT INSERT ON tickets.ticket TO {GROUP}")
        try:
            uid = asking.task(name)["metadata"]["uid"]
            spec = {
                "taskRef": {"name": name, "uid": uid},
                "digest": asked["digest"], "decision": "Approved",
            }  # fmt: skip
            word = thing("taskpass.dev/v1alpha1", "TaskApproval", TENANT, f"{name}-1", spec=spec)
            asking.api.as_user("lea", "support-leads").create(word)

            again = pending(asking, name, but=asked["digest"])
            assert "(change tables, read tables of schema tickets)" in again["request"]
            assert (asking.roles(), asking.secret(name)) == (set(), None)

            code, text = lea("approve", f"{TENANT}/{name}", "--reason", "INC-7", "--yes")
            assert code == 0, text
            assert "change tables, read tables of schema tickets" in text
            asking.wait_ready(name)
            assert asking.login(name).execute("SELECT count(*) FROM tickets.ticket").fetchone()
        finally:
            admin.execute(f"REVOKE INSERT ON tickets.ticket FROM {GROUP}")
