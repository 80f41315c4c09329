"""Mutants that no row can notice, each with the reason, so that a person can check it.

A reason is for all mutants of a policy whose change begins as it says. It is told where one of them
is noticed by a row after all, or where there is no such mutant any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from e2e.mutations.mutants import Mutant


@dataclass(frozen=True)
class Reason:
    """Why some mutants of a policy make no difference to anybody."""

    policy: str
    changes: tuple[str, ...]
    """What their changes begin with."""
    why: str

    def covers(self, mutant: Mutant) -> bool:
        """Tell whether it is said of this mutant."""
        return mutant.policy == self.policy and mutant.change.startswith(self.changes)


OF_TASKS = ("taskpass-stamps", "taskpass-stamp-tasks")
OF_WORKLOADS = ("taskpass-workloads", "taskpass-stamp-workloads")
REASONS: tuple[Reason, ...] = (
    # The API server refuses it, or does not have it.
    Reason(
        "taskpass-status",
        ("rule 0 without CREATE",),
        "nobody creates a status: of a subresource that is no object the API server has updates",
    ),
    Reason(
        "taskpass-stamps",
        ("validations[3] is gone",),
        "the schema lets spec.changers have 32 items, and refuses before the policy is asked",
    ),
    Reason(
        "taskpass-grants",
        ("variables.0.expression: without clause 'object.roleRef == oldObject.roleRef'",),
        "the API server lets nobody change the roleRef of a binding",
    ),
    Reason(
        "taskpass-delegation",
        ("matchConditions.0.expression: without clause 'has(object.spec)'",),
        "a task without a spec is refused by the schema, before a policy that validates is asked",
    ),
    Reason(
        "taskpass-workloads",
        ("variables.11.expression: without clause 'request.?subResource.orValue('') == ",),
        "by the status nobody changes the spec, which is all that may not change",
    ),
    # Another clause says the same.
    Reason(
        "taskpass-credentials",
        tuple(
            f"validations.{i}.expression: without clause 'variables.creating'" for i in (2, 3, 4)
        ),
        "whoever creates a Secret of our type is refused by the first validation; others pass by "
        "`!variables.ours`",
    ),
    Reason(
        "taskpass-pods",
        ("variables.5.expression: without clause '!variables.creating'",),
        "a pod that is created without our gate is refused by the second validation already",
    ),
    Reason(
        "taskpass-operator-pods",
        tuple(
            f"validations.{i}.expression: without clause 'request.operation == 'UPDATE''"
            for i in (1, 2)
        ),
        "a pod that the operator creates or deletes is refused by the first validation already",
    ),
    Reason(
        "taskpass-inject-templates",
        ("matchConditions[0] is gone", "matchConditions.0.expression: '&&' is '||' in "),
        "a pod that is no Job's is refused by taskpass-template-pods, whatever was put into it",
    ),
    Reason(
        "taskpass-secret-deletion",
        ("matchConditions.0.expression: without clause 'oldObject != null'",),
        "where there is no object, what is asked of it by `?` has no type: the other clause is no",
    ),
    Reason(
        "taskpass-operator-secrets",
        ("validations.2.expression: without clause 'variables.home'",),
        "in its own namespace the operator may update nothing, by the first validation",
    ),
    Reason(
        "taskpass-grants-namespace",
        (
            "validations.1.expression: without clause 'request.resource.resource != "
            "'serviceaccounts''",
        ),
        "what is no ServiceAccount is refused by the first validation already",
    ),
    Reason(
        "taskpass-operator-grants",
        ("validations.2.expression: '.all(' is '.exists(' in 'riables.subject.subjects.all(s,",),
        "the clause before it wants exactly one subject: of one, all and some are the same",
    ),
    Reason(
        "taskpass-workloads",
        ("variables.11.expression: without clause '!variables.creating'",),
        "at its creation createdBy is who asks, so the last clause is false",
    ),
    *(
        Reason(
            policy,
            ("variables.3.expression: without clause 'variables.creating'",),
            "at a creation there is no old object, which then makes no agents",
        )
        for policy in OF_WORKLOADS
    ),
    *(
        Reason(
            policy,
            ("variables.6.expression: without clause 'variables.creating'",),
            "a task that is created says something, by its schema, that it did not say before",
        )
        for policy in (*OF_TASKS, "taskpass-delegation")
    ),
    *(
        Reason(
            policy,
            ("variables.7.expression: without clause 'variables.creating'",),
            "the operator may not change a task's spec, by taskpass-operator-tasks; and a template "
            "is of no template, by its schema",
        )
        for policy in OF_TASKS
    ),
    *(
        Reason(
            policy,
            ("variables.9.expression: without clause '!variables.creating'",),
            "at a creation variables.changed is true, and `moved` is asked beside it only",
        )
        for policy in OF_TASKS
    ),
    Reason(
        "taskpass-stamp-tasks",
        (
            "matchConditions.1.expression: without clause 'request.operation == 'CREATE''",
            "matchConditions.1.expression: without clause '!has(oldObject.spec)'",
            "matchConditions.1.expression: '||' is '&&' in 'st.operation == 'CREATE' || !has(",
        ),
        "where there is an old object it has a spec, by its schema, and where there is none it has "
        "none: the two clauses say the same",
    ),
    # Nothing reads it.
    Reason(
        "taskpass-delegation",
        tuple(f"variables.{at}.expression: " for at in (3, 7, 9, 10)),
        "the variables of tasks are those of three policies; of these this one reads none",
    ),
)


def explained(mutant: Mutant, reasons: Sequence[Reason] = REASONS) -> bool:
    """Tell whether there is a reason for a mutant to survive."""
    return any(reason.covers(mutant) for reason in reasons)


def stale(fates: Mapping[Mutant, str], reasons: Sequence[Reason] = REASONS) -> list[str]:
    """Return which reasons do not hold, of policies of which all mutants were tried."""
    tried = {mutant.policy for mutant in fates}
    untried = {mutant.policy for mutant, fate in fates.items() if fate == "not tried"}
    found = []
    for reason in reasons:
        if reason.policy not in tried - untried:
            continue
        for change in reason.changes:
            its = {
                fate
                for mutant, fate in fates.items()
                if mutant.policy == reason.policy and mutant.change.startswith(change)
            }
            if its != {"survived"}:
                what = " and ".join(sorted(its)) or "not there"
                found.append(f"{reason.policy}: {change}: {what}")
    return found
