"""Somebody is to be forgotten, and the operator that has the ledger open is asked for it."""

import json

from e2e.admission import TENANT
from e2e.cases.faults.test_ledger_volume import audit
from e2e.stage import Stage
from taskpass.ledger.verify.log import verify_database


def test_who_asked_is_on_record_until_they_are_erased(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    task = f"{TENANT}/{name}"
    _, told = audit(stage.operator, "timeline", task, "--json")
    intent = next(e for e in map(json.loads, told.splitlines()) if e["type"].endswith(".issue"))
    before = audit(stage.operator, "timeline", task)[1]

    code, said = audit(stage.operator, "erase", "--subject", "alice")

    after = audit(stage.operator, "timeline", task)[1]
    files = stage.operator.directory.glob("ledger.db*")
    assert (code, said.startswith("Erased; entry ")) == (0, True)
    assert set(intent["data"]["by"]["requester"]) == {"ref", "c"}
    assert "asked for by alice" in " ".join(before.split())
    assert "(erased)" in after
    assert "alice" not in after
    assert [f for f in files if f.is_file() and b"alice" in f.read_bytes()] == []
    assert verify_database(stage.operator.ledger).size > 0
