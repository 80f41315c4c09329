"""What the API server does with an object and a CRD's schema, without an API server.

Covers the keywords that our CRDs use, list types and CEL rules included, and nothing else: a
keyword that is not known here is an error. `e2e/cases/admission/test_refusals.py` asks the real API
server about the same objects, so that this file is not believed on its own.
"""

import copy
import functools
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from cel_expr_python import cel

CRDS = Path(__file__).parents[2] / "crds"
KNOWN = {
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maximum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minimum",
    "minItems",
    "minLength",
    "minProperties",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
}
TYPES = {"string": str, "integer": int, "object": dict, "array": list}
ENV = cel.NewEnv(
    variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN},
    config=cel.NewEnvConfigFromYaml("extensions:\n- name: strings\n- name: optional\n"),
)


@functools.cache
def crds() -> dict[str, dict[str, Any]]:
    """Return the CRDs by kind."""
    loaded = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    return {crd["spec"]["names"]["kind"]: crd for crd in loaded}


def schema_of(kind: str) -> dict[str, Any]:
    """Return the schema of a kind's one version."""
    schema: dict[str, Any] = crds()[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def refusals(thing: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """Return why the API server would refuse to create the object, or to update `old` to it."""
    schema = schema_of(thing["kind"])
    thing = _defaulted(schema, copy.deepcopy(thing))
    old = None if old is None else _defaulted(schema, copy.deepcopy(old))
    found = list(_structural(schema, thing, ""))
    # CEL rules are evaluated on what has the right shape only.
    return found or list(_rules(schema, thing, old, "", created=old is None))


def _defaulted(schema: dict[str, Any], value: Any) -> Any:
    if isinstance(value, dict):
        for name, sub in schema.get("properties", {}).items():
            if name not in value and "default" in sub:
                value[name] = sub["default"]
            if name in value:
                value[name] = _defaulted(sub, value[name])
    if isinstance(value, list):
        return [_defaulted(schema.get("items", {}), item) for item in value]
    return value


def _structural(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if path in (".metadata", ".apiVersion", ".kind"):
        return
    assert schema.keys() <= KNOWN, f"{path}: not known here: {schema.keys() - KNOWN}"
    if type(value) is not TYPES[schema["type"]]:
        yield f"{path}: must be of type {schema['type']}"
        return
    match value:
        case str():
            yield from _string(schema, value, path)
        case int():
            yield from _integer(schema, value, path)
        case list():
            yield from _list(schema, value, path)
        case dict():
            yield from _object(schema, value, path)


def _string(schema: dict[str, Any], value: str, path: str) -> Iterator[str]:
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{path}: Too long"
    if len(value) < schema.get("minLength", 0):
        yield f"{path}: should be at least {schema['minLength']} chars long"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: Unsupported value"
    # Go's `$` is the end of the text; Python's lets a newline through.
    if not re.fullmatch(schema.get("pattern", "(?s).*"), value):
        yield f"{path}: should match"
    if schema.get("format") == "date-time":
        datetime.fromisoformat(value)


def _integer(schema: dict[str, Any], value: int, path: str) -> Iterator[str]:
    if value < schema.get("minimum", value):
        yield f"{path}: should be greater than or equal to {schema['minimum']}"
    if value > schema.get("maximum", value):
        yield f"{path}: should be less than or equal to {schema['maximum']}"


def _list(schema: dict[str, Any], value: list[Any], path: str) -> Iterator[str]:
    if len(value) > schema["maxItems"]:
        yield f"{path}: Too many"
    if len(value) < schema.get("minItems", 0):
        yield f"{path}: should have at least {schema['minItems']} items"
    for index, item in enumerate(value):
        yield from _structural(schema["items"], item, f"{path}[{index}]")
    keys = schema.get("x-kubernetes-list-map-keys", [])
    identities = [
        tuple(i.get(k) for k in keys) if keys and isinstance(i, dict) else i for i in value
    ]
    if schema["x-kubernetes-list-type"] != "atomic":
        for index, identity in enumerate(identities):
            if identity in identities[:index]:
                yield f"{path}[{index}]: Duplicate value"


def _object(schema: dict[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}.{name}: Required value"
    if len(value) > schema.get("maxProperties", len(value)):
        yield f"{path}: must have at most {schema['maxProperties']} items"
    if len(value) < schema.get("minProperties", 0):
        yield f"{path}: should have at least {schema['minProperties']} properties"
    for name, sub in value.items():
        if name in properties:
            yield from _structural(properties[name], sub, f"{path}.{name}")
        elif "additionalProperties" in schema:
            yield from _structural(schema["additionalProperties"], sub, f"{path}.{name}")
        else:
            yield f'unknown field "{path.removeprefix(".")}.{name}"'


def _rules(
    schema: dict[str, Any], value: Any, old: Any, path: str, *, created: bool
) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        transition = "oldSelf" in rule["rule"] and not rule.get("optionalOldSelf")
        if transition and (old is None or created):
            continue
        if not _holds(rule["rule"], value, old):
            yield f"{path}{rule.get('fieldPath', '')}: {rule['message']}"
    match value:
        case dict():
            for name, sub in schema.get("properties", {}).items():
                if name in value and name != "metadata":
                    before = old.get(name) if isinstance(old, dict) else None
                    yield from _rules(sub, value[name], before, f"{path}.{name}", created=created)
        case list():
            for index, item in enumerate(value):
                yield from _rules(schema["items"], item, None, f"{path}[{index}]", created=created)


def _holds(rule: str, value: Any, old: Any) -> bool:
    # The one use of an optional that we make; Python has no way to hand one over.
    source = rule.replace("oldSelf.hasValue()", "true" if old is not None else "false")
    answer = compiled(source).eval(data={"self": value, "oldSelf": old if old is not None else {}})
    assert answer.type() == cel.Type.BOOL, f"{rule}: {answer.value()}"
    return answer.value() is True


@functools.cache
def compiled(source: str) -> Any:
    """Return a compiled expression."""
    return ENV.compile(source)
