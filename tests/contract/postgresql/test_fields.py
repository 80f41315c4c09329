"""What is handed over works where its ecosystem reads it, by libpq itself."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from e2e.postgresql.server import binaries
from taskpass.core.model.task import Output
from tests.contract.postgresql.stage import CLASS, REQUEST, Bench, a_class
from tests.contract.provider_suite import grant_for, issued_grant

pytestmark = pytest.mark.usefixtures("brisk")


async def test_the_service_file_and_the_uri_open_the_database_with_the_ca_beside_them(
    bench: Bench, tmp_path: Path
) -> None:
    grant, issued = await bench.issued()
    text = {name: value.reveal().decode() for name, value in issued.fields.items()}
    (tmp_path / "ca").write_text(text["sslrootcert"])
    where = "/var/run/taskpass/tickets.sslrootcert"
    for field in ("uri", "pg_service.conf"):
        assert where in text[field].replace("%2F", "/")
    service = tmp_path / "pg_service.conf"
    service.write_text(text["pg_service.conf"].replace(where, str(tmp_path / "ca")))
    uri = text["uri"].replace(where.replace("/", "%2F"), str(tmp_path / "ca"))

    for target, more in ((uri, {}), ("service=tickets", {"PGSERVICEFILE": str(service)})):
        done = subprocess.run(
            [str(binaries() / "psql"), target, "-Atc", "SELECT count(*) FROM tickets.ticket"],
            env={**os.environ, **more}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("5000\n", "")

    await bench.provider.revoke(grant)


async def test_a_ca_that_is_delivered_under_another_key_is_named_by_that(bench: Bench) -> None:
    outputs = (Output(field="sslrootcert", key="ca.pem"),)
    grant = grant_for(bench.subject, replace(REQUEST, outputs=outputs))

    issued = await bench.provider.issue(grant, "")

    service = issued.fields["pg_service.conf"].reveal().decode()
    assert "sslrootcert=/var/run/taskpass/ca.pem\n" in service
    assert "sslmode=verify-full\n" in service
    await bench.provider.revoke(issued_grant(grant, issued))


@pytest.mark.parametrize(
    ("tls", "mode", "names_ca"),
    [("VerifyFull", "verify-full", True), ("VerifyCA", "verify-ca", True),
     ("Require", "require", False), ("Disable", "disable", False)],
)  # fmt: skip
async def test_tls_is_what_the_class_says(
    bench: Bench, tls: str, mode: str, names_ca: bool
) -> None:
    grant, issued = await bench.issued(a_class(tls=tls))

    uri = issued.fields["uri"].reveal().decode()

    assert f"sslmode={mode}" in uri
    assert ("sslrootcert" in uri) == names_ca
    await bench.provider.revoke(grant)


@pytest.mark.parametrize(
    ("config", "shown", "value"),
    [({"statementTimeoutSeconds": 7}, "statement_timeout", "7s"),
     ({"idleInTransactionTimeoutSeconds": 9}, "idle_in_transaction_session_timeout", "9s"),
     ({}, "statement_timeout", "0")],
    ids=str,
)  # fmt: skip
async def test_sessions_begin_with_the_timeouts_of_the_class(
    bench: Bench, config: dict[str, Any], shown: str, value: str
) -> None:
    grant, issued = await bench.issued(a_class(**config))

    with bench.login(issued) as task:
        assert task.execute(
            psycopg.sql.SQL("SHOW {}").format(psycopg.sql.Identifier(shown))
        ).fetchone() == (value,)

    await bench.provider.revoke(grant)


async def test_only_what_is_no_secret_may_be_in_the_log(bench: Bench) -> None:
    grant, issued = await bench.issued(CLASS)
    password = issued.fields["password"].reveal()

    assert issued.primary == "password"
    for name, value in issued.fields.items():
        assert (password in value.reveal()) <= (name not in issued.public)
    await bench.provider.revoke(grant)
