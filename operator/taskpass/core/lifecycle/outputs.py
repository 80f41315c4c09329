"""Which key of the Secret each field of a credential is written to."""

from collections.abc import Iterable, Sequence

from taskpass.core.model.task import CredentialRequest


def keys_of(request: CredentialRequest, fields: Iterable[str]) -> dict[str, str]:
    """Return key → field: `<credential>.<field>`, and beside those what `outputs` say."""
    keys = {f"{request.name}.{field}": field for field in fields}
    return keys | {output.key: output.field for output in request.outputs}


def collision(requests: Sequence[CredentialRequest]) -> str | None:
    """Return which two requests of a phase would write one key; None where none do."""
    taken: dict[str, str] = {}
    for request in requests:
        for output in request.outputs:
            owner = taken.setdefault(output.key, request.name)
            prefix = output.key.split(".")[0]
            if owner == request.name and prefix in {r.name for r in requests if r is not request}:
                owner = prefix
            if owner != request.name:
                return (
                    f"outputs of credential '{request.name}' writes key '{output.key}', which is "
                    f"also written for '{owner}'; give it another key"
                )
    return None
