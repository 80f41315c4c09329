"""The whole operator on a real API server: one process and one ledger for all cases.

The process may be killed and started again by any case; each case finds it running and ready. The
files that begin with `test_with` come last: they look at what the whole session left.
"""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from e2e.admission import ROLE, TARGET, binding, cluster_role, prepare, remove
from e2e.audit_trail import Trail
from e2e.impersonate import Api, thing
from e2e.operator_process import USER, OperatorProcess
from e2e.stage import Stage, credential_class, policy

WATCHER = "tickets-watcher"
ABSENT = "tickets-absent"
NOTES = "notes-reader"
OTHER_CLASSES = ["other", "labelled", "streams", "absent", "unlisted", "notes"]
TARGETS = {TARGET: {"clusterRoles": [ROLE, WATCHER, ABSENT], "roles": [NOTES]}}
READS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the administrator's kubeconfig; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="session")
def trail(kubeconfig: str) -> Trail:
    """Return what the operator's own token does from now on."""
    return Trail.of_cluster(kubeconfig, USER)


@pytest.fixture(scope="session")
def furnish(kubeconfig: str, helm: str, trail: Trail) -> Callable[[], Api]:
    """Return what installs the chart, roles, classes and one policy; safe to do again."""

    def do() -> Api:
        admin = Api.from_kubeconfig(kubeconfig)
        prepare(admin, helm, kubeconfig, targets=TARGETS)
        admin.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
        admin.apply(cluster_role(WATCHER, {**READS, "verbs": ["get", "watch"]}))
        rbac = "rbac.authorization.k8s.io/v1"
        notes = {**READS, "resourceNames": ["read-me"]}
        admin.apply(thing(rbac, "Role", TARGET, NOTES, rules=[notes]))
        use = {"apiGroups": ["taskpass.dev"], "resources": ["credentialclasses"], "verbs": ["use"]}
        admin.apply(cluster_role("use-others", use | {"resourceNames": OTHER_CLASSES}))
        admin.apply(
            binding("ClusterRoleBinding", "", "use-others", "ClusterRole/use-others", "User/alice")
        )
        admin.apply(credential_class("tickets"))
        admin.apply(credential_class("notes", NOTES, "Role"))
        admin.apply(policy("triage", "tickets", "notes"))
        return admin

    return do


@pytest.fixture(scope="session")
def api(furnish: Callable[[], Api]) -> Api:
    """Return the API server as its administrator sees it, furnished."""
    return furnish()


@pytest.fixture(scope="session")
def process(
    api: Api, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """Return the one process, running or not."""
    directory = tmp_path_factory.mktemp("operator")
    made = OperatorProcess(kubeconfig, directory, targets=TARGETS)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def everything(api: Api, process: OperatorProcess) -> Stage:
    """Return the stage of the whole session, whatever the process does."""
    made = Stage(api, process)
    process.start()
    made.clear("")  # what an earlier session left on a cluster that was kept
    return made


@pytest.fixture
def stage(everything: Stage) -> Stage:
    """Return the stage with the operator running and ready."""
    if everything.operator.ended():
        everything.operator.kill()
        everything.operator.start()
    else:
        everything.operator.wait_ready()
    return everything


@pytest.fixture
def name(stage: Stage) -> Iterator[str]:
    """Return a name for a task, its pod and its Job; afterwards they are deleted by the book."""
    chosen = f"t-{uuid.uuid4().hex[:8]}"
    yield chosen
    if stage.operator.ended():
        stage.operator.kill()
        stage.operator.start()
    stage.clear(chosen)


@pytest.fixture
def other(stage: Stage) -> Iterator[Stage]:
    """Return the stage with a class and a policy, both named 'other', that a case may change."""
    stage.api.apply(credential_class("other"))
    stage.api.apply(policy("other", "other"))
    yield stage
    for each in (credential_class("other"), policy("other", "other")):
        remove(stage.api, each)
