"""docs/providers/postgresql.md: its statements set up every server here, its class is issued."""

from collections.abc import Iterable
from typing import Any

import pytest
import yaml

from e2e.demo.documents import fenced
from e2e.postgresql.stage import PAGE, page_statements
from taskpass.core.model.task import CredentialClass
from taskpass.providers.postgresql.capabilities import FIELDS
from taskpass.providers.postgresql.failures import CONNECTING, SAID
from taskpass.providers.postgresql.servers import MOST_IDLE, Purpose
from tests.contract.postgresql.stage import Bench

pytestmark = pytest.mark.usefixtures("brisk")


def documents() -> Iterable[dict[str, Any]]:
    for block in fenced(PAGE, "yaml"):
        yield from yaml.safe_load_all(block)


async def test_the_class_to_copy_is_issued_on_a_server_that_was_set_up_by_the_page(
    bench: Bench,
) -> None:
    [spec] = [d["spec"] for d in documents() if d.get("kind") == "CredentialClass"]
    copied = CredentialClass(
        name="tickets-db", uid="c", generation=1, provider=spec["provider"],
        config=spec["postgresql"], actions=tuple(spec["actions"]),
    )  # fmt: skip

    assert await bench.provider.obstacles(copied) == []
    grant, issued = await bench.issued(copied)
    assert await bench.subject.works(issued)
    await bench.provider.revoke(grant)


def test_the_rights_for_16_and_later_are_apart(bench: Bench) -> None:
    assert len(page_statements(True)) == len(page_statements(False)) + 1


def test_the_page_has_the_fields_and_the_number_of_connections() -> None:
    page = PAGE.read_text()
    [row] = [line for line in page.splitlines() if line.startswith("| fields |")]

    assert set(row.split("`")[1::2]) == FIELDS
    words = page.replace("\n", " ")
    assert f"up to {sum(each.places for each in Purpose)} connections" in words
    assert f"keeps up to {MOST_IDLE} to each database" in words


def test_what_the_page_quotes_is_what_is_said() -> None:
    said = " ".join([*SAID.values(), *(words for _, words in CONNECTING)])
    table = PAGE.read_text().partition("| message |")[2]
    quoted = [row.split("|")[1].partition("(")[0].strip() for row in table.splitlines()[2:9]]

    assert [q for q in quoted if q.split(";")[0] not in said and "Group role" not in q] == []
