"""What the doctor says of grants that are none; no operator runs that would remove them first."""

from uuid import uuid4

from e2e.admission import GRANTS, TARGET, binding
from e2e.admission import operator as operator_of
from e2e.as_operator import without
from e2e.cases.doctor.conftest import examine, one
from e2e.impersonate import Api, Object, Refused, thing
from e2e.stage import until


def test_what_looks_like_a_grant_and_was_not_made_by_taskpass_fails(
    api: Api, kubeconfig: str
) -> None:
    grant = f"g-{uuid4().hex}"
    account = thing("v1", "ServiceAccount", GRANTS, grant)
    bound = binding(
        "RoleBinding", TARGET, f"taskpass-{grant}-0", "ClusterRole/tickets-reader",
        f"ServiceAccount/{GRANTS}/{grant}",
    )  # fmt: skip
    thief = operator_of(api)
    with without(api, "validatingadmissionpolicybindings", "taskpass-operator-grants"):
        until(lambda: _let_pass(thief, account))
        thief.create(bound)
        told = examine(kubeconfig)
    for each in (bound, account):
        thief.delete(each)

    assert one(told, "grants", "failed", f"ServiceAccount '{grant}' in namespace '{GRANTS}'")
    assert one(told, "grants", "failed", f"RoleBinding 'taskpass-{grant}-0'")


def _let_pass(who: Api, each: Object) -> bool:
    try:
        who.create(each)
    except Refused as refused:
        if "taskpass-operator-grants" not in refused.message:
            raise
        return False  # the policy counts for a moment longer
    return True
