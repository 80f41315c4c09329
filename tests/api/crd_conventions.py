"""Kubernetes API conventions as checks on a CRD's YAML.

The rules are those of sig-architecture/api-conventions.md and of kube-api-linter. That linter reads
Go types; a project whose source of truth is YAML needs its own. Each finding is `path: rule`.
"""

import re
from collections.abc import Iterator
from typing import Any

PURE_MAPS = {"matchLabels"}
BUILT_IN_SHORT_NAMES = set(
    "cj cm cr crb crd crds cs csr deploy ds ep ev hpa ing limits netpol no ns pa pc pdb po pod "
    "pv pvc quota rb rc role rs sa sc sts svc tc vap".split()
)
DURATION = re.compile(r"(?i)(ttl|timeout|duration|interval|period|deadline)$")


def findings(crd: dict[str, Any]) -> list[str]:
    """Return every departure from the conventions, one line each."""
    return list(_names(crd)) + [
        f"{version['name']}{line}"
        for version in crd["spec"]["versions"]
        for line in _version(version)
    ]


def _names(crd: dict[str, Any]) -> Iterator[str]:
    spec = crd["spec"]
    names = spec["names"]
    if crd["metadata"]["name"] != f"{names['plural']}.{spec['group']}":
        yield ".metadata.name: not <plural>.<group>"
    if names.get("categories") != ["taskpass"]:
        yield ".names: the one category is 'taskpass'"
    for taken in set(names.get("shortNames", ())) & BUILT_IN_SHORT_NAMES:
        yield f".names: short name '{taken}' collides with a built-in"
    if sum(v["storage"] for v in spec["versions"]) != 1:
        yield ".versions: not exactly one storage version"


def _version(version: dict[str, Any]) -> Iterator[str]:
    if "status" not in version.get("subresources", {}):
        yield ": no status subresource"
    yield from _columns(version.get("additionalPrinterColumns", []))
    schema = version["schema"]["openAPIV3Schema"]
    status = schema.get("properties", {}).get("status", {}).get("properties", {})
    conditions = status.get("conditions", {})
    if conditions.get("x-kubernetes-list-map-keys") != ["type"]:
        yield ".status: conditions is not a list of type map keyed by 'type'"
    if "observedGeneration" not in status:
        yield ".status: no observedGeneration"
    if "phase" in status:
        yield ".status.phase: phase is deprecated; use conditions"
    if not schema.get("description"):
        yield ": no description"
    yield from _rules(schema, "")
    for part in ("spec", "status"):
        if part in schema.get("properties", {}):
            yield from _walk(schema["properties"][part], f".{part}", part)


def _columns(columns: list[dict[str, Any]]) -> Iterator[str]:
    named = [c["name"] for c in columns]
    for wanted in ("Ready", "Reason", "Age"):
        if wanted not in named:
            yield f": no printer column '{wanted}'"
    if named[-1:] != ["Age"]:
        yield ": the last printer column is not 'Age'"
    for column in columns:
        if column["name"] != "Age" and not column.get("description"):
            yield f": printer column '{column['name']}' has no description"


def _walk(schema: dict[str, Any], path: str, part: str) -> Iterator[str]:
    kind = schema.get("type")
    if kind is None:
        yield f"{path}: no type"
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        yield f"{path}: preserves unknown fields"
    if schema.get("nullable"):
        yield f"{path}: nullable"
    yield from _rules(schema, path)
    match kind:
        case "string":
            yield from _string(schema, path)
        case "number":
            yield f"{path}: floating point"
        case "integer":
            yield from _integer(schema, path, part)
        case "boolean" if part == "spec":
            yield f"{path}: boolean in spec; use a string enum"
        case "array":
            yield from _list(schema, path, part)
        case "object":
            yield from _object(schema, path, part)


def _rules(schema: dict[str, Any], path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        message = rule.get("message", "")
        if not message.startswith("must "):
            yield f"{path}: the message of a rule does not begin with 'must': {message}"
        if path and "reason" not in rule:
            yield f"{path}: a rule without reason: {message}"
        if rule.get("reason") == "FieldValueDuplicate":
            # The API server answers "Duplicate value" and drops the message.
            yield f"{path}: a rule with reason FieldValueDuplicate: {message}"


def _string(schema: dict[str, Any], path: str) -> Iterator[str]:
    if not {"maxLength", "enum", "format"} & schema.keys():
        yield f"{path}: string without maxLength"
    for value in schema.get("enum", []):
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", value):
            yield f"{path}: enum value '{value}' is not CamelCase"
    pattern = schema.get("pattern", "^$")
    if not (pattern.startswith("^") and pattern.endswith("$")):
        yield f"{path}: pattern is not anchored"
    name = path.rsplit(".", 1)[-1]
    if (schema.get("format") == "date-time") != (name == "time" or name.endswith("Time")):
        yield f"{path}: times, and only they, are date-time and named '…Time'"


def _integer(schema: dict[str, Any], path: str, part: str) -> Iterator[str]:
    if schema.get("format") not in ("int32", "int64"):
        yield f"{path}: integer without format"
    if part == "spec" and not {"minimum", "maximum"} <= schema.keys():
        yield f"{path}: integer without both bounds"


def _list(schema: dict[str, Any], path: str, part: str) -> Iterator[str]:
    items = schema.get("items", {})
    if "maxItems" not in schema:
        yield f"{path}: list without maxItems"
    match schema.get("x-kubernetes-list-type"):
        case None:
            yield f"{path}: list without list-type"
        case "map":
            for key in schema.get("x-kubernetes-list-map-keys", [""]):
                if key not in items.get("required", []):
                    yield f"{path}: list key '{key}' is not required"
        case "set" if items.get("type") == "object":
            yield f"{path}: a set of objects"
    yield from _walk(items, f"{path}[]", part)


def _object(schema: dict[str, Any], path: str, part: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    if "additionalProperties" in schema and path.rsplit(".", 1)[-1] not in PURE_MAPS:
        yield f"{path}: map of subobjects; use a list of type map"
    if not properties and "additionalProperties" not in schema:
        yield f"{path}: object without properties"
    for name in set(schema.get("required", [])):
        if name not in properties:
            yield f"{path}: required '{name}' is no property"
        elif "default" in properties[name]:
            yield f"{path}.{name}: required, and has a default"
    for name, sub in properties.items():
        here = f"{path}.{name}"
        yield from _name(name, sub, here)
        yield from _walk(sub, here, part)


def _name(name: str, schema: dict[str, Any], path: str) -> Iterator[str]:
    if ".conditions[]" in path:
        return  # the names of metav1.Condition are not ours
    description = schema.get("description", "")
    if not description.startswith(f"{name} "):
        yield f"{path}: the description does not begin with the field's name"
    if not description.endswith("."):
        yield f"{path}: the description is no sentence"
    if not re.fullmatch(r"[a-z][a-zA-Z0-9]*", name):
        yield f"{path}: not camelCase"
    if name.endswith("Timestamp"):
        yield f"{path}: say 'Time', not 'Timestamp'"
    if DURATION.search(name) or schema.get("format") == "duration":
        yield f"{path}: a duration is an integer named '…Seconds'"
    if name.endswith("Seconds") and schema.get("type") != "integer":
        yield f"{path}: '…Seconds' is no integer"
