"""What binds a pod to its task is dropped once the API server has no such pod any more."""

import contextlib
import sqlite3

from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, until


def bound(operator: OperatorProcess) -> dict[str, str]:
    """Return the tasks' UIDs by those of the pods that are bound to them."""
    with contextlib.closing(sqlite3.connect(f"file:{operator.ledger}?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT pod_uid, task_uid FROM pod_binding"))


def test_a_binding_goes_with_task_and_pod_and_that_of_a_living_pod_stays(
    stage: Stage, name: str
) -> None:
    gone, stays = f"{name}-gone", f"{name}-stays"
    pods = [stage.begin_ready(each)["metadata"]["uid"] for each in (gone, stays)]
    assert set(pods) <= set(bound(stage.operator))

    stage.api.delete(stage.task(stays))
    stage.clear(gone)

    until(lambda: pods[0] not in bound(stage.operator), said=stage.operator.tail)
    assert pods[1] in bound(stage.operator)
    assert "not what its log says" not in stage.operator.tail()
    stage.operator.stop()
    stage.operator.start()
    assert pods[0] not in bound(stage.operator)
    assert pods[1] in bound(stage.operator)
    stage.clear(name)
