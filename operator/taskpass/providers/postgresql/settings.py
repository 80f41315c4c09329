"""The servers that an administrator lists: where they are, and which group roles may be had."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from taskpass.providers.postgresql.names import refusal_of_name


def _name(value: str) -> str:
    if refusal := refusal_of_name(value):
        raise ValueError(refusal)
    return value


Name = Annotated[str, AfterValidator(_name)]
"""The name of a database or a role."""

Address = Annotated[
    str,
    Field(pattern=r"^([A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\]):[1-9][0-9]{0,4}$"),
]
"""`host:port`, an IPv6 address in brackets."""

ServerName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""What a server is called in the settings, in classes, and in what tasks ask for."""


class Server(BaseModel):
    """One PostgreSQL server, and how the operator reaches it: over TLS, with its name verified."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    host: str = Field(pattern=r"^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$|^[0-9a-fA-F:]+$")
    """Name or address, which the server's certificate must have. No default."""
    port: int = Field(default=5432, ge=1, le=65535)
    """TCP port. Default: 5432."""
    user: Name
    """The operator's own role: CREATEROLE, and no superuser. No default."""
    database: Name = "postgres"
    """Database that the operator connects to for what is of no one database. Default: postgres."""
    tls: Literal["VerifyFull", "VerifyCA"] = "VerifyFull"
    """VerifyCA does not compare the host with the certificate. Default: VerifyFull."""
    ca_file: Path = Field(alias="caFile")
    """PEM of the authorities that may have signed the server's certificate. No default."""
    password_file: Path | None = Field(default=None, alias="passwordFile")
    """File with the password of `user`, read for every connection. Default: none."""
    certificate_file: Path | None = Field(default=None, alias="certificateFile")
    """Client certificate of `user`, read for every connection. Default: none."""
    key_file: Path | None = Field(default=None, alias="keyFile")
    """Its key; libpq refuses one that others than its owner and root's group may read."""
    databases: Mapping[Name, tuple[Name, ...]] = Field(default_factory=dict)
    """Which group roles classes may use in which database. Default: none."""
    standbys: tuple[Address, ...] = ()
    """Standbys that tasks can reach, as host:port; the same user, files and TLS as here. Sessions
    are ended there too, and nothing counts as gone while one cannot be reached. Default: none."""

    def standby(self, address: str) -> "Server":
        """Return how one of its standbys is reached."""
        host, _, port = address.rpartition(":")
        where = {"host": host.strip("[]"), "port": int(port), "standbys": ()}
        return self.model_copy(update=where)

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificateFile and keyFile go together")
        if self.password_file is None and self.certificate_file is None:
            raise ValueError("one of passwordFile and certificateFile is needed")
        return self
