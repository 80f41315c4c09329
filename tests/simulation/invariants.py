"""What must hold in every simulated world, whatever went wrong in it (docs/concepts.md)."""

from collections import Counter
from datetime import datetime

from taskpass.core.model.grant import Grant, GrantState
from taskpass.ledger.verify.log import verify_database
from tests.simulation.world import SimulatedWorld

OF_A_GRANT = (
    ("credential.issue", "intent"),
    ("credential.issue", "result"),
    ("credential.revoke", "intent"),
    ("credential.revoke", "result"),
)
TOLD = {
    GrantState.INTENT: (1, 0, 0, 0),
    GrantState.ISSUED: (1, 1, 0, 0),
    GrantState.DELIVERED: (1, 1, 0, 0),
    GrantState.REVOKING: (1, 1, 1, 0),
    GrantState.REVOKED: (1, 1, 1, 1),
}


def assert_safe(world: SimulatedWorld) -> None:
    """At every moment: nothing exists that the ledger does not answer for."""
    held = {g.id for g in world.ports.ledger.held()}
    assert set(world.provider.live) <= held, "a credential works that no grant answers for"


def assert_at_rest(world: SimulatedWorld, *, cut_off: bool = False) -> None:
    """Once everything answers and all is done: nothing half, nothing owed, Secrets as held.

    `cut_off` allows for revocations that a crash cut off before their record.
    """
    assert_safe(world)
    held = list(world.ports.ledger.held())
    assert {g.state for g in held} <= {GrantState.DELIVERED}, "something is half done or owed"
    dead = {g.id for g in held} - set(world.provider.live)
    # A revocation reaches the provider without waiting for its record. Where a crash came between
    # the two, and its reason went away meanwhile, what is held is dead: safe, and until it expires.
    assert all(("revoke", grant) in world.provider.calls for grant in dead), "held and gone"
    assert cut_off or not dead, "a grant is held of what is gone"
    in_secrets = {
        value
        for secret in world.cluster.secrets.values()
        if secret.owner
        for key, value in secret.fields.items()
        if key.endswith(".token")
    }
    now = world.now()
    renewed = {g.renews: g for g in held if g.delivered_at is not None}
    beside = {g.id for g in held if g.id in renewed}
    late = [id_ for id_ in beside if _moment(renewed[id_]) + world.overlap <= now]
    assert not late, "a credential outlives the overlap with its renewal"
    working = {value for id_, value in world.provider.live.items() if id_ not in beside}
    assert working <= in_secrets, "a credential works that was not delivered"
    assert dead or in_secrets == working, "a Secret holds what does not work"


def _moment(grant: Grant) -> datetime:
    assert grant.delivered_at is not None
    return grant.delivered_at


def assert_log_complete(world: SimulatedWorld) -> None:
    """The log verifies, and tells of each grant once what its state says: no intent stays open."""
    verify_database(world.path)
    stages = Counter(
        (e["type"].removeprefix("dev.taskpass."), e["data"]["stage"], e["data"]["cred"]["ref"])
        for e in world.log()
        if "cred" in e["data"] and "ref" in e["data"]["cred"]
    )
    assert max(stages.values(), default=1) == 1, "something is told twice"
    states = {g.id: g.state for g in world.ports.ledger.held()}
    begun = {ref for kind, stage, ref in stages if (kind, stage) == ("credential.issue", "intent")}
    for ref in begun:
        told = {kind_stage: stages[(*kind_stage, ref)] for kind_stage in OF_A_GRANT}
        assert tuple(told.values()) == TOLD[states.get(ref, GrantState.REVOKED)], (ref, told)


def assert_nothing_left(world: SimulatedWorld) -> None:
    """The end of every story."""
    assert_at_rest(world)
    assert not world.provider.live
    assert not [s for s in world.cluster.secrets.values() if s.owner]
    assert not world.cluster.tasks
    assert not list(world.ports.ledger.held())
    assert not list(world.ports.ledger.records())
    assert_log_complete(world)
