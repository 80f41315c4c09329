"""Objects that go one over each limit of our schemas, made from `crds/` themselves.

Every string one character longer than its maxLength, every list one item longer than its maxItems,
every number one beyond its bounds: no limit is without a case. One table for the schemas on file
(`test_limits.py`) and for a real API server (`e2e/cases/input/test_limits.py`).
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api_objects import SPECS, VARIANTS, good
from crd_validation import schema_of
from test_types import FULL

Object = dict[str, Any]
Path = tuple[str | int, ...]
STAMPS = ("requester", "changedBy", "changers", "approver", "templateRef")
"""What admission replaces before the schema is asked: no client can break it."""


@dataclass(frozen=True)
class Excess:
    """One field of a full object, one over what its schema allows."""

    kind: str
    path: Path
    value: Any
    message: str
    variant: str = ""

    @property
    def thing(self) -> Object:
        """The object."""
        thing = full(self.kind, self.variant)
        target: Any = thing["spec"]
        for part in self.path[:-1]:
            target = target[part]
        target[self.path[-1]] = self.value
        return thing

    def __str__(self) -> str:
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in self.path)
        return f"{self.kind}{self.variant and f' {self.variant}'}{where}: {self.message}"


def full(kind: str, variant: str = "") -> Object:
    """Return an object that has every field, but for sections of other variants."""
    thing = good(kind, variant)
    thing["spec"].update(copy.deepcopy(FULL[f"{kind} {variant}".strip()]))
    return thing


def variants() -> Iterator[tuple[str, str]]:
    """Yield each kind, and the variant of it; '' for the first."""
    for kind in SPECS:
        yield from ((kind, variant) for variant in ("", *VARIANTS.get(kind, ())))


def excesses() -> Iterator[Excess]:
    """Yield every limit of every kind's spec."""
    for kind, variant in variants():
        spec = full(kind, variant)["spec"]
        for path, value, message in _of(schema_of(kind)["properties"]["spec"], spec, ()):
            if path[0] not in STAMPS:
                yield Excess(kind, path, value, message, variant)


def _of(schema: Object, value: Any, path: Path) -> Iterator[tuple[Path, Any, str]]:
    match schema["type"]:
        case "string" if "maxLength" in schema:
            yield path, "a" * (schema["maxLength"] + 1), "Too long"
        case "integer":
            least, most = schema["minimum"], schema["maximum"]
            yield path, least - 1, f"should be greater than or equal to {least}"
            yield path, most + 1, f"should be less than or equal to {most}"
        case "array":
            items = [_another(value[0], schema, n) for n in range(schema["maxItems"] + 1)]
            yield path, items, "Too many"
            if "minItems" in schema:
                yield path, [], f"should have at least {schema['minItems']} items"
            yield from _of(schema["items"], value[0], (*path, 0))
        case "object":
            if "maxProperties" in schema:
                many = {f"k{n}": "v" for n in range(schema["maxProperties"] + 1)}
                yield path, many, "must have at most"
            if "minProperties" in schema:
                yield path, {}, f"should have at least {schema['minProperties']} properties"
            for name, sub in schema.get("properties", {}).items():
                if name in value:  # of every property that has none `test_types` knows why
                    yield from _of(sub, value[name], (*path, name))
            if "additionalProperties" in schema:
                first = next(iter(value))
                yield from _of(schema["additionalProperties"], value[first], (*path, first))


def _another(item: Any, schema: Object, number: int) -> Any:
    """Return an item like the first that is none of the others."""
    if isinstance(item, str):
        return f"{item}{number}"
    keys = schema.get("x-kubernetes-list-map-keys", [])
    return {**item, **{key: f"{item[key]}{number}" for key in keys}}
