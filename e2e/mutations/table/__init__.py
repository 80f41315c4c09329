"""The table: who asks for what, and what the API server is to answer. Asked with dryRun=All.

Rows stand in pairs where that is possible: what is refused, and the nearest thing that is not. Of
what is accepted the whole object counts, so that a stamp that is missing is noticed.
"""

from e2e.mutations.rows import Row, Table
from e2e.mutations.stage import Stage
from e2e.mutations.table import grants, pods, secrets, tasks, workloads

PARTS = (
    pods.pods, secrets.references, pods.templates, secrets.secrets, grants.tokens, grants.grants,
    tasks.tasks, tasks.kinds, workloads.workloads, workloads.made_by_controllers,
    workloads.revisions, workloads.replicas,
)  # fmt: skip


def rows_on(stage: Stage) -> list[Row]:
    """Return the whole table."""
    table = Table(stage)
    for part in PARTS:
        part(table)
    return table.rows
