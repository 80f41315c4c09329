"""What is handed over: fields as the Service Binding specification has them, a file of libpq's."""

from urllib.parse import quote, urlencode

from taskpass.core.model.grant import SecretValue
from taskpass.providers.postgresql.session import SSL_MODES
from taskpass.providers.postgresql.settings import Server
from taskpass.providers.postgresql.state import State


def credential_fields(
    name: str, state: State, server: Server, password: str, ca: str
) -> dict[str, SecretValue]:
    """Return the credential's fields; `name` is its own, and that of the service in libpq's file.

    A password of ours has no character that any of these would need to have escaped.
    """
    tls = _tls(state)
    fields = {
        "username": state.role,
        "password": password,
        "host": server.host,
        "port": str(server.port),
        "database": state.database,
        "uri": _uri(state, server, password, tls),
        "sslrootcert": ca,
        "pg_service.conf": _service(name, state, server, password, tls),
    }
    return {key: SecretValue(text.encode()) for key, text in fields.items()}


def _tls(state: State) -> dict[str, str]:
    mode = SSL_MODES[state.tls]
    # libpq verifies in mode `require` too, where it is told of a CA.
    verifies = state.tls.startswith("Verify")
    return {"sslmode": mode, "sslrootcert": state.ca_path} if verifies else {"sslmode": mode}


def _uri(state: State, server: Server, password: str, tls: dict[str, str]) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return (
        f"postgresql://{quote(state.role, safe='')}:{quote(password, safe='')}@{host}:{server.port}"
        f"/{quote(state.database, safe='')}?{urlencode(tls)}"
    )


def _service(name: str, state: State, server: Server, password: str, tls: dict[str, str]) -> str:
    lines = {
        "host": server.host,
        "port": str(server.port),
        "dbname": state.database,
        "user": state.role,
        "password": password,
        **tls,
    }
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in lines.items())
