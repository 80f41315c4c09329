"""Exports of lines: what SIEMs and spreadsheets get, and that nobody can change it unnoticed."""

import asyncio
import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.demo.documents import ROOT
from taskpass.core.audit.canonical import canonical, entry_bytes
from taskpass.core.audit.terms import moment
from taskpass.core.model.entry import EventType
from taskpass.ledger.export.directory import export
from taskpass.ledger.export.formats import FORMATS, ecs, ocsf
from taskpass.ledger.export.formats import csv_table as table
from taskpass.ledger.log.reader import Incomplete, TamperEvidence
from taskpass.ledger.verify.log import verify_directory
from taskpass.tlog.merkle import leaf_hash
from tests.unit.core.test_audit import ALL, NOW
from tests.unit.ledger import objects
from tests.unit.test_documents import table as table_of

SIZE = 300
KINDS = {
    name: entry_bytes(make(NOW), source="o", time=moment(NOW), adjusted=False)
    for name, make in ALL.items()
}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("formats") / "ledger.db"

    async def write() -> None:
        made = objects.opened(path)
        await objects.story(made)
        await objects.filled(made, SIZE)
        made.close()

    asyncio.run(write())
    return path


def test_every_type_of_entry_has_its_place_in_each_schema() -> None:
    assert set(ecs.CATEGORIES) == set(EventType)
    assert {*ocsf.ACTIVITIES, EventType.WORKLOAD_ATTEST} == set(EventType)


def test_the_page_says_what_becomes_of_each_type() -> None:
    told = table_of(ROOT / "docs/exports.md", "type")
    attests = (ocsf.OTHER, "user, service")

    assert told == {
        str(kind): [
            f"{3002 if kind is EventType.WORKLOAD_ATTEST else 3004}, "
            f"{ocsf.ACTIVITIES.get(kind, attests)[0]}",
            ocsf.ACTIVITIES.get(kind, attests)[1],
            ecs.CATEGORIES[kind][0],
            ", ".join(ecs.CATEGORIES[kind][1]),
        ]
        for kind in EventType
    }


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_line_holds_the_entrys_own_bytes(form: str, name: str) -> None:
    line = FORMATS[form].line(KINDS[name], 7)

    assert "\n" not in line
    assert FORMATS[form].raw(line).encode() == KINDS[name]


def test_an_issue_is_a_created_credential_in_ocsf() -> None:
    event = json.loads(FORMATS["ocsf"].line(KINDS["issue result"], 128))

    assert (event["class_uid"], event["activity_id"], event["type_uid"]) == (3004, 1, 300401)
    assert (event["category_uid"], event["severity_id"]) == (3, 1)
    assert (event["status_id"], event["status"]) == (1, "Success")
    assert event["entity"]["type"] == "Credential"
    assert event["entity"]["uid"].startswith("g-")
    assert event["metadata"]["version"] == "1.8.0"
    assert event["metadata"]["sequence"] == 128
    assert event["time"] == int(NOW.timestamp() * 1000)
    assert event["unmapped"]["leaf_sha256"] == leaf_hash(KINDS["issue result"]).hex()


@pytest.mark.parametrize(
    ("name", "type_uid", "status_id"),
    [
        ("issue intent", 300401, 99), ("delivered", 300410, 1), ("denied", 300401, 2),
        ("revoke result", 300404, 1), ("attested", 300299, 1), ("finished", 300403, 1),
    ],
)  # fmt: skip
def test_types_and_outcomes_are_those_of_ocsf(name: str, type_uid: int, status_id: int) -> None:
    event = json.loads(FORMATS["ocsf"].line(KINDS[name], 0))

    assert (event["type_uid"], event["status_id"]) == (type_uid, status_id)
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert (event["class_uid"] == 3002) == ("user" in event and "service" in event)
    assert (event["class_uid"] == 3004) == ("entity" in event)


def test_a_revocation_is_a_deletion_of_a_credential_in_ecs() -> None:
    document = json.loads(FORMATS["ecs"].line(KINDS["revoke result"], 9))

    assert document["@timestamp"] == moment(NOW)
    assert document["event"]["category"] == ["iam"]
    assert document["event"]["type"] == ["deletion", "admin"]
    assert document["event"]["action"] == "credential.revoke"
    assert document["event"]["outcome"] == "success"
    assert document["event"]["sequence"] == 9
    assert document["event"]["hash"] == leaf_hash(KINDS["revoke result"]).hex()
    assert document["orchestrator"]["resource"]["type"] == "agenttask"
    assert document["user"]["name"] == json.loads(KINDS["revoke result"])["data"]["task"]["agent"]


def test_categories_and_types_are_those_that_ecs_expects() -> None:
    """https://www.elastic.co/guide/en/ecs, `event.category`, expected event types."""
    expected = {
        "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
        "process": {"access", "change", "end", "info", "start"},
        "authentication": {"start", "end", "info"},
        "configuration": {"access", "change", "creation", "deletion", "info"},
    }

    for category, types in ecs.CATEGORIES.values():
        assert set(types) <= expected[category]


def test_a_type_of_a_later_version_is_told_all_the_same() -> None:
    later = {**json.loads(KINDS["delivered"]), "type": "dev.taskpass.moon.phase"}
    body = canonical(later)

    for form in FORMATS.values():
        assert form.raw(form.line(body, 3)).encode() == body


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "\n=1", " =1"]
)
def test_no_cell_becomes_a_formula(cell: str) -> None:
    event = {**json.loads(KINDS["issue result"])}
    event["data"]["cred"] |= {"name": cell, "resources": [cell]}

    line = FORMATS["csv"].line(canonical(event), 0)

    (cells,) = csv.reader([line])
    assert cells.count(f"'{cell}".replace("\r", " ").replace("\n", " ")) == 2


@given(st.dictionaries(st.sampled_from("abc"), st.text(st.characters(codec="utf-8"))))
def test_whatever_texts_an_entry_has_its_lines_can_be_read_again(texts: dict[str, str]) -> None:
    event = json.loads(KINDS["issue result"])
    event["data"]["cred"] |= texts | {"name": texts.get("a", ""), "class": texts.get("b", "")}
    body = canonical(event)

    for form in FORMATS.values():
        line = form.line(body, 1)

        assert "\n" not in line
        assert "\r" not in line
        assert form.raw(line).encode() == body


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["directory", "zip"])
def test_lines_are_verified_under_the_checkpoint(
    ledger: Path, tmp_path: Path, form: str, kind: str
) -> None:
    made = tmp_path / ("out.zip" if kind == "zip" else "out")
    export(ledger, made, form=form, wanted=(250, 262))

    report = verify_directory(made)

    assert report.lines == ((FORMATS[form].file, 250, 262),)
    assert (report.size, report.bodies) == (SIZE, (0, 0))


def changed(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def outcome_of(lines: list[str]) -> list[str]:
    """Change what a line says beside the entry's own bytes."""
    edited = lines[5].replace("point", "doubt", 1)
    edited = lines[5].replace(":4,", ":5,", 1) if edited == lines[5] else edited
    edited = f"3{lines[5][1:]}" if lines[5].startswith("4,") else edited  # the index of a row
    return [*lines[:5], edited, *lines[6:]]


CHANGES: dict[str, Callable[[list[str]], list[str]]] = {
    "a line left out": lambda lines: lines[:5] + lines[6:],
    "two lines swapped": lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]],
    "a line told twice": lambda lines: [*lines[:5], lines[4], *lines[5:]],
    "a line added": lambda lines: [*lines, "{}\n"],
    "the last one cut": lambda lines: [*lines[:-1], lines[-1][:-9]],
    "the last line's end cut": lambda lines: [*lines[:-1], lines[-1][:-1]],
    "all left out": lambda lines: [],
    "another outcome": lambda lines: [line.replace("success", "failure") for line in lines],
    "what is said beside the entry": outcome_of,
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("change", CHANGES)
def test_lines_that_were_changed_are_refused(
    ledger: Path, tmp_path: Path, form: str, change: str
) -> None:
    export(ledger, tmp_path / "out", form=form, wanted=(0, 40))
    path = tmp_path / "out" / FORMATS[form].file
    before = path.read_text()
    changed(path, CHANGES[change])
    assert path.read_text() != before

    with pytest.raises(TamperEvidence, match=FORMATS[form].file):
        verify_directory(tmp_path / "out")


def test_a_part_of_the_log_is_exported_in_whole_bundles(ledger: Path, tmp_path: Path) -> None:
    size, here = export(ledger, tmp_path / "out", wanted=(260, 270))

    assert (size, here) == (SIZE, range(256, SIZE))
    assert verify_directory(tmp_path / "out").bodies == (256, SIZE)


def test_a_table_has_its_columns_in_the_first_line(ledger: Path, tmp_path: Path) -> None:
    export(ledger, tmp_path / "out", form="csv", wanted=(0, 3))

    with (tmp_path / "out/entries.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == table.COLUMNS
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert rows[0][3] == "log.genesis"


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def files_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_a_zip_that_is_none_is_incomplete(ledger: Path, tmp_path: Path) -> None:
    whole = tmp_path / "out.zip"
    export(ledger, whole)
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:-400])
    (tmp_path / "text.zip").write_text("no zip")

    for name in ("cut.zip", "text.zip"):
        with pytest.raises(Incomplete, match="cannot be read as a zip"):
            verify_directory(tmp_path / name)


def test_nothing_of_a_zip_leaves_it(ledger: Path, tmp_path: Path) -> None:
    whole = tmp_path / "in/out.zip"
    export(ledger, whole)
    evil = zip_of(tmp_path / "in/evil.zip", {**files_of(whole), "../escaped": b"x", "/etc/x": b"x"})

    with pytest.raises(TamperEvidence, match=r"a file that no export has, '\.\./escaped'"):
        verify_directory(evil)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["evil.zip", "in", "out.zip"]


def test_a_file_that_unpacks_to_more_than_a_log_can_have_is_refused(
    ledger: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "out.zip"
    export(ledger, whole)
    bomb = {**files_of(whole), "tile/entries/000": bytes(100 << 20)}

    with pytest.raises(TamperEvidence, match="larger than any file of a log"):
        verify_directory(zip_of(tmp_path / "bomb.zip", bomb))


def test_an_entry_changed_within_a_zip_is_found(ledger: Path, tmp_path: Path) -> None:
    whole = tmp_path / "out.zip"
    export(ledger, whole)
    files = files_of(whole)
    files["tile/entries/000"] = files["tile/entries/000"].replace(b"success", b"failure", 1)

    with pytest.raises(TamperEvidence):
        verify_directory(zip_of(tmp_path / "edited.zip", files))
