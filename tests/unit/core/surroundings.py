"""A pod and a task that fit, and what is around them: a test changes one thing of it."""

from dataclasses import replace

from taskpass.core.lifecycle.attestation import Surroundings
from tests.simulation.builders import job, pod, request, task

TASK = task(request("tickets"))
AROUND = Surroundings(
    service_account_uid="account-1", bound_task_uid=None, workload=None, owners=(),
    audience="taskpass",
)  # fmt: skip
OF_A_JOB = task(request("tickets"), job="ticket-4711")
POD_OF_JOB = pod(job=job())
AROUND_JOB = replace(AROUND, workload=job(), owners=(job(),))
