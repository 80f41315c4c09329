"""The caches: whose task is enqueued, and what comes too late to count."""

from dataclasses import replace

import pytest

from taskpass.core.errors import EvaluationFailed
from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.kube.cache.convert import pod_from
from tests.unit.kube.caches import (
    ACCOUNTS,
    NAMESPACES,
    OTHER,
    PODS,
    SALES,
    TICKET,
    Enqueued,
    listed,
    reflected,
    running,
    until,
)
from tests.unit.kube.objects import (
    a_class,
    a_namespace,
    a_pod,
    a_policy,
    a_switch,
    a_task,
    a_template,
    an_account,
    an_approval,
)
from tests.unit.kube.scripted_server import Script, events, page


class TestWhoNeedsALook:
    def test_a_task_that_changes(self, filled: InformerCache, looks: Enqueued) -> None:
        filled.apply("AgentTask", "MODIFIED", a_task("ticket", 20, status={"phaseName": "a"}))

        assert looks.take() == [TICKET]
        found = filled.task(TICKET)
        assert found is not None
        assert found.status == {"phaseName": "a"}

    def test_no_task_whose_status_is_what_the_operator_wrote(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        found = filled.task(TICKET)
        assert found is not None
        filled.own_writes.expect(replace(found, status={"phaseName": "a"}))

        filled.apply("AgentTask", "MODIFIED", a_task("ticket", 20, status={"phaseName": "a"}))
        ours = looks.take()
        filled.apply("AgentTask", "MODIFIED", a_task("ticket", 21, status={"phaseName": "a"}))

        assert (ours, looks.take()) == ([], [TICKET]), "a second time nobody expects it"

    def test_a_task_of_which_somebody_changed_more_than_the_operator(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        found = filled.task(TICKET)
        assert found is not None
        filled.own_writes.expect(replace(found, status={"phaseName": "a"}))

        changed = a_task("ticket", 20, generation=2, status={"phaseName": "a"})
        filled.apply("AgentTask", "MODIFIED", changed)

        assert looks.take() == [TICKET]

    def test_a_task_that_goes_while_the_operator_writes(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        found = filled.task(TICKET)
        assert found is not None
        filled.own_writes.expect(found)

        filled.apply("AgentTask", "DELETED", a_task("ticket", 20))

        assert looks.take() == [TICKET]

    def test_a_task_that_goes(self, filled: InformerCache, looks: Enqueued) -> None:
        filled.apply("AgentTask", "DELETED", a_task("ticket", 20))

        assert looks.take() == [TICKET]
        assert filled.task(TICKET) is None

    def test_tasks_that_use_a_class_that_changes(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        filled.apply("CredentialClass", "MODIFIED", a_class("tickets", 20, generation=2))

        assert looks.take() == [TICKET]

    def test_tasks_that_use_a_class_that_goes(self, filled: InformerCache, looks: Enqueued) -> None:
        filled.apply("CredentialClass", "DELETED", a_class("tickets", 20))

        assert looks.take() == [TICKET]
        assert filled.credential_class("tickets") is None

    def test_no_task_for_the_status_of_a_class_or_policy(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        filled.apply("CredentialClass", "MODIFIED", a_class("tickets", 20))
        filled.apply("AgentPolicy", "MODIFIED", a_policy("triage", 21))

        assert looks.take() == []

    def test_tasks_in_the_namespace_of_a_policy(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        filled.apply("AgentPolicy", "DELETED", a_policy("triage", 20))

        assert looks.take() == [OTHER, TICKET]
        assert [each.policy.name for each in filled.policies("support")] == ["all"]

    def test_every_task_for_a_policy_of_the_cluster(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        filled.apply("ClusterAgentPolicy", "MODIFIED", a_policy("all", 20, "", generation=2))

        assert looks.take() == [SALES, OTHER, TICKET]

    @pytest.mark.parametrize(
        ("spec", "keys"),
        [
            ({"target": "Task", "namespace": "support", "of": "ticket"}, [TICKET]),
            ({"target": "Agent", "namespace": "support", "of": "sales"}, [OTHER]),
            ({"target": "Class", "of": "tickets"}, [TICKET]),
            ({"target": "Namespace", "namespace": "support"}, [OTHER, TICKET]),
            ({"target": "All"}, [SALES, OTHER, TICKET]),
        ],
    )
    def test_tasks_that_a_kill_switch_matches_when_it_comes_and_when_it_goes(
        self,
        filled: InformerCache,
        looks: Enqueued,
        spec: dict[str, str],
        keys: list[tuple[str, str]],
    ) -> None:
        filled.apply("KillSwitch", "ADDED", a_switch("stop", 20, **spec))
        came, (switch,) = looks.take(), filled.kill_switches()
        filled.apply("KillSwitch", "MODIFIED", a_switch("stop", 21, **spec))
        status = looks.take()
        count = filled.tasks_stopped_by(switch)
        filled.apply("KillSwitch", "DELETED", a_switch("stop", 22, **spec))

        assert (came, status, count) == (keys, [], len(keys))
        assert (looks.take(), filled.kill_switches()) == (keys, ())

    def test_all_below_a_task_when_it_changes_and_not_for_its_status(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        child = a_task("child", 20)
        child["spec"]["parentRef"] = {"name": "ticket"}
        leaf = a_task("leaf", 21)
        leaf["spec"]["parentRef"] = {"name": "child"}
        for each in (child, leaf):
            filled.apply("AgentTask", "ADDED", each)
        looks.take()

        filled.apply("AgentTask", "MODIFIED", a_task("ticket", 22, generation=2))
        changed = looks.take()
        filled.apply("AgentTask", "MODIFIED", a_task("ticket", 23, generation=2))
        status = looks.take()

        below = [("support", "child"), ("support", "leaf")]
        assert (changed, status) == (sorted([*below, TICKET]), [TICKET])
        assert [each.name for each in filled.children(TICKET)] == ["child"]
        filled.apply("AgentTask", "DELETED", {**child, "metadata": {**child["metadata"],
                     "resourceVersion": "24"}})  # fmt: skip
        assert filled.children(TICKET) == []

    def test_the_task_of_an_approval_when_it_comes_and_goes_and_not_for_its_status(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        filled.apply("TaskApproval", "ADDED", an_approval("yes", 20))
        came, held = looks.take(), list(filled.approvals(TICKET))
        filled.apply("TaskApproval", "MODIFIED", an_approval("yes", 21))
        status = looks.take()
        filled.apply("TaskApproval", "DELETED", an_approval("yes", 22))

        assert (came, [each.name for each in held], status) == ([TICKET], ["yes"], [])
        assert (looks.take(), list(filled.approvals(TICKET))) == ([TICKET], [])

    def test_the_tasks_whose_pods_name_a_template_when_it_comes(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        waiting = a_pod("nightly-1-x", 20, "nightly-1")
        waiting["metadata"]["labels"]["taskpass.dev/task-template"] = "nightly"
        filled._pod_changed(("support", "nightly-1-x"), None, pod_from(waiting))
        looks.take()

        filled.apply("AgentTaskTemplate", "ADDED", a_template("nightly", 21))

        assert looks.take() == [("support", "nightly-1")]
        found = filled.template(("support", "nightly"))
        assert found is not None
        assert found.spec["agent"] == {"serviceAccountName": "triage-agent"}

    def test_a_task_is_found_by_what_it_says_now(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        filled.apply("AgentTask", "MODIFIED", a_task("other", 20, of_class="tickets", generation=2))
        looks.take()

        filled.apply("CredentialClass", "MODIFIED", a_class("tickets", 21, generation=2))

        assert looks.take() == [OTHER, TICKET]

    async def test_the_task_of_a_pod(
        self, filled: InformerCache, script: Script, looks: Enqueued
    ) -> None:
        reflected(script)
        script.on(f"GET {NAMESPACES}", page(5))
        later = a_pod("p0", 7, "ticket", "2027-03-01T11:00:00Z")
        script.on(
            f"WATCH {PODS}",
            events(("ADDED", later), ("MODIFIED", a_pod("p1", 8, "ticket", phase="Failed"))),
        )

        async with running(filled):
            await until(lambda: len(looks.keys) >= 3)

            assert set(looks.take()) == {TICKET}
            assert [pod.name for pod in filled.pods(TICKET)] == ["p0", "p1"]
            assert [pod.ended for pod in filled.pods(TICKET)] == ["", "Failed"]
            assert filled.pods(OTHER) == ()
            assert filled.pod_uids() == {pod.uid for pod in filled.pods(TICKET)}

    async def test_tasks_of_a_service_account_that_is_made_anew(
        self, filled: InformerCache, script: Script, looks: Enqueued
    ) -> None:
        reflected(script)
        script.on(f"GET {NAMESPACES}", page(5))
        script.on(
            f"WATCH {ACCOUNTS}",
            events(
                ("MODIFIED", an_account("triage", 7, secrets=[])),
                ("DELETED", an_account("sales", 8)),
                ("MODIFIED", an_account("triage", 9, "sa-2")),
            ),
        )

        async with running(filled):
            await until(lambda: filled.service_account_uid("support", "triage") == "sa-2")

            assert looks.keys.count(TICKET) == 3  # its pod, its account, its account again
            assert OTHER not in looks.keys
            assert filled.service_account_uid("support", "sales") is None

    async def test_tasks_in_a_namespace_whose_labels_change(
        self, filled: InformerCache, script: Script, looks: Enqueued
    ) -> None:
        reflected(script)
        script.on(f"GET {PODS}", page(5))
        script.on(f"GET {ACCOUNTS}", page(5))
        script.on(
            f"WATCH {NAMESPACES}",
            events(
                ("MODIFIED", a_namespace("support", 7, team="a")),
                ("MODIFIED", a_namespace("support", 8, team="b")),
            ),
        )

        async with running(filled):
            await until(lambda: filled.namespace_labels("support") == {"team": "b"})

            assert looks.keys.count(TICKET) == 2
            assert looks.keys.count(OTHER) == 2
            assert SALES not in looks.keys


class TestWhatComesLate:
    def test_an_older_state_changes_nothing(self, filled: InformerCache, looks: Enqueued) -> None:
        filled.apply("AgentTask", "MODIFIED", a_task("ticket", 9, generation=9))
        filled.apply("AgentTask", "MODIFIED", a_task("ticket", 10, generation=9))

        assert looks.take() == []
        found = filled.task(TICKET)
        assert found is not None
        assert found.generation == 1

    def test_versions_are_numbers(self, filled: InformerCache, looks: Enqueued) -> None:
        filled.apply("AgentTask", "MODIFIED", a_task("ticket", 100, generation=2))

        assert looks.take() == [TICKET]

    def test_a_deleted_task_does_not_come_back(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        filled.apply("AgentTask", "DELETED", a_task("ticket", 20))
        looks.take()

        filled.apply("AgentTask", "MODIFIED", a_task("ticket", 19))

        assert looks.take() == []
        assert filled.task(TICKET) is None

    def test_a_task_made_anew_survives_the_deletion_of_the_one_before(
        self, filled: InformerCache
    ) -> None:
        filled.apply("AgentTask", "ADDED", a_task("ticket", 22, uid="second"))

        filled.apply("AgentTask", "DELETED", a_task("ticket", 20))

        found = filled.task(TICKET)
        assert found is not None
        assert found.uid == "second"

    def test_a_policy_that_cannot_be_read_is_trouble_and_never_passes_for_none(
        self, filled: InformerCache, looks: Enqueued
    ) -> None:
        listed(filled)

        filled.apply("AgentPolicy", "MODIFIED", {**a_policy("triage", 20), "spec": {}})

        assert looks.take() == []
        assert [p.policy.name for p in filled.policies("support")] == ["all", "triage"]
        assert ("AgentPolicy", ("support", "triage")) in filled._unreadable
        assert not filled.sight("support").decisions
        assert "'triage' could not be read" in filled.sight("support").issuance_blocked_reason
        filled.apply("AgentPolicy", "MODIFIED", a_policy("triage", 21))
        assert ("AgentPolicy", ("support", "triage")) not in filled._unreadable

    def test_what_cannot_be_read_stops_issuing_in_its_namespace_and_in_no_other(
        self, filled: InformerCache
    ) -> None:
        listed(filled)
        before = filled.unhealthy_reason, filled.sight("other")

        filled.apply("AgentPolicy", "MODIFIED", {**a_policy("triage", 20), "spec": {}})

        assert (filled.unhealthy_reason, filled.sight("other")) == before

    def test_a_kill_switch_that_cannot_be_read_never_passes_for_none(
        self, filled: InformerCache
    ) -> None:
        listed(filled)

        filled.apply("KillSwitch", "ADDED", a_switch("stop", 20, target="Everybody"))

        assert "KillSwitch 'stop' could not be read" in filled.unhealthy_reason

    def test_a_task_that_was_never_read_is_neither_there_nor_gone(
        self, filled: InformerCache
    ) -> None:
        filled.apply("AgentTask", "ADDED", {**a_task("new", 20), "spec": {}})

        with pytest.raises(EvaluationFailed, match=r"support/new.*could not be read"):
            filled.task(("support", "new"))

    def test_an_event_that_is_no_object_has_everything_listed_anew(
        self, filled: InformerCache
    ) -> None:
        filled._seeded = True

        filled.apply("AgentTask", "MODIFIED", {"metadata": "what?"})

        assert filled.missed
        assert filled.task(TICKET) is not None
