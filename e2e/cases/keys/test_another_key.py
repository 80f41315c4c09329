"""The operator's key on a real API server: the next generation takes over, and the old one goes."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.admission import SYSTEM, operator, prepare, remove, wait_for
from e2e.impersonate import Api, Object, Refused, thing
from e2e.operator_process import OperatorProcess
from taskpass.ledger.verify.log import Report, verify_database

ROOT = Path(__file__).parents[3]
FIRST, SECOND = (
    thing("v1", "Secret", SYSTEM, name)
    for name in ("taskpass-signing-key", "taskpass-signing-key-2")
)
Upgrade = Callable[[int], None]


@pytest.fixture(scope="module")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the administrator's kubeconfig; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="module")
def api(kubeconfig: str, helm: str) -> Api:
    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig)
    return admin


def _may_make(api: Api, key: Object) -> bool:
    """Tell whether the policy lets the operator make a key; one that is there passed it too."""
    try:
        operator(api).create(key, dryRun="All")
    except Refused as refused:
        return refused.status == 409
    return True


@pytest.fixture
def upgrade(api: Api, kubeconfig: str, helm: str) -> Iterator[Upgrade]:
    """Return what sets the chart's generation; afterwards all is as it was, the key included."""

    def to(generation: int) -> None:
        chart = [str(ROOT / "charts/taskpass"), "--namespace", SYSTEM, "--kubeconfig", kubeconfig]
        value = f"signingKeyGeneration={generation}"
        subprocess.run(
            [helm, "upgrade", "taskpass", *chart, "--reuse-values", "--set", value],
            check=True, capture_output=True,
        )  # fmt: skip
        # The API server goes by the policy of before for a moment.
        wish = FIRST if generation == 1 else SECOND
        wait_for(lambda: _may_make(api, {**wish, "type": "taskpass.dev/signing-key"}), 30)

    key = api.get("Secret", SYSTEM, FIRST["metadata"]["name"]) if api.exists(FIRST) else None
    remove(api, FIRST)
    yield to
    to(1)
    for each in (FIRST, SECOND):
        remove(api, each)
    if key is not None:
        api.create({**FIRST, "type": key["type"], "data": key["data"], "immutable": True})


def lived(operator: OperatorProcess, generation: int) -> Report:
    """Start the operator and stop it once it is ready; return what its log then is."""
    operator.start(TASKPASS_SIGNING_KEY_GENERATION=str(generation))
    assert operator.stop() == 0
    return verify_database(operator.ledger)


def test_the_next_generation_takes_over_and_the_old_secret_may_then_go(
    api: Api, kubeconfig: str, upgrade: Upgrade, tmp_path: Path
) -> None:
    operator = OperatorProcess(kubeconfig, tmp_path)
    first = lived(operator, 1)

    upgrade(2)
    second = lived(operator, 2)
    api.delete(FIRST)
    third = lived(operator, 2)

    assert len(first.keys) == 1
    assert [key.until is None for key in second.keys] == [False, True]
    assert third.keys == second.keys
    assert third.size > second.size
    assert verify_database(operator.ledger, vkey=first.vkey).pinned
    assert "delete it and its backups" in operator.log.read_text()
    with pytest.raises(Refused, match="only create its signing key"):
        api.as_service_account(SYSTEM, "taskpass").create(
            {**FIRST, "type": "taskpass.dev/signing-key"}
        )


@pytest.mark.parametrize("step", ["upkeep.before-handover", "upkeep.after-handover"])
def test_a_kill_at_the_handover_leaves_one_key_in_force_and_the_next_start_goes_on(
    api: Api, kubeconfig: str, upgrade: Upgrade, tmp_path: Path, step: str
) -> None:
    operator = OperatorProcess(kubeconfig, tmp_path)
    first = lived(operator, 1)
    upgrade(2)

    operator.start(
        ready=False, TASKPASS_SIGNING_KEY_GENERATION="2",
        FAILPOINT=step, FAILPOINT_ONCE=str(tmp_path / "died"),
    )  # fmt: skip
    assert operator.wait_end() == -signal.SIGKILL, operator.tail()
    killed = verify_database(operator.ledger, vkey=first.vkey)
    after = lived(operator, 2)

    assert len(killed.keys) == (1 if step == "upkeep.before-handover" else 2)
    assert [key.until is None for key in after.keys] == [False, True]
    assert verify_database(operator.ledger, vkey=first.vkey).pinned
