"""Read what `taskpass policy explain` judges, from files instead of a cluster.

An API server would have refused what is of the wrong type, filled in defaults and stamped users;
here the first is an error with the path of the field, and the rest is filled in plainly.
"""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from taskpass.cli.policy.schema import SPECS, complaints
from taskpass.core.errors import UsageError
from taskpass.core.model.task import LABEL, CredentialClass, Task
from taskpass.core.policy.evaluate import Policy
from taskpass.kube.cache.convert import class_from, policy_from, task_from
from taskpass.kube.kinds import ALL, API_VERSION, GROUP

CLUSTER_KINDS = frozenset(kind.name for kind in ALL if not kind.namespaced)
NAME_LABEL = "kubernetes.io/metadata.name"
UNKNOWN_TIME = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTemplate:
    """What a workload in the files says of the pods that carry a task's label."""

    labels: Mapping[str, str]
    images: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Given:
    """All that the files hold, converted."""

    tasks: list[Task] = field(default_factory=list)
    classes: dict[str, CredentialClass] = field(default_factory=dict)
    policies: list[Policy] = field(default_factory=list)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of each Namespace."""
    pods: dict[tuple[str, str], PodTemplate] = field(default_factory=dict)
    """By namespace and name of the task whose label they carry."""

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return a namespace's labels, with the one that every API server sets."""
        return {**self.namespaces.get(name, {}), NAME_LABEL: name}


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: `y` and `n` are booleans, and no key may come twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' comes twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)

    def construct_boolean(self, node: yaml.ScalarNode) -> bool:
        return node.value[:1] in "yYtT" or node.value.lower() == "on"


# PyYAML leaves these four out of YAML 1.1's booleans; kubectl does not.
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), "yYnN")
_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.construct_boolean)


def read(paths: Iterable[Path]) -> Given:
    """Read the files.

    Raises:
        UsageError: One cannot be read, or an API server would refuse an object's shape.

    """
    given = Given()
    for path in paths:
        for number, thing in enumerate(_documents(path), start=1):
            _take(given, thing, f"{path}, document {number}")
    return given


def _documents(path: Path) -> Iterator[Any]:
    try:
        documents = list(yaml.load_all(path.read_text(), Loader=_Loader))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"{path} cannot be read: {reason}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{where}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"{path}: not valid YAML") from error
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List":
            items = document.get("items")
            yield from items if isinstance(items, list) else []
        elif document is not None:
            yield document


def _take(given: Given, thing: Any, where: str) -> None:
    if not isinstance(thing, dict):
        raise UsageError(f"{where}: must be an object with apiVersion and kind")
    for name in ("apiVersion", "kind"):
        _demand(complaints("string", thing.get(name), name), where)
    kind = thing["kind"]
    if thing["apiVersion"].startswith(f"{GROUP}/"):
        if kind not in SPECS or thing["apiVersion"] != API_VERSION:
            raise UsageError(
                f"{where}: there is no kind {kind} in {thing['apiVersion']}; kinds of "
                f"{API_VERSION} are {', '.join(SPECS)}"
            )
        _take_ours(given, _filled(thing, where))
    elif kind == "Namespace":
        meta = _metadata(thing, where)
        given.namespaces[meta["name"]] = meta.get("labels", {})
    else:
        _take_workload(given, thing)


def _metadata(thing: Mapping[str, Any], where: str) -> dict[str, Any]:
    meta = thing.get("metadata")
    _demand(complaints({"name!": "string"}, {"name": _get(meta, "name")}, "metadata"), where)
    assert isinstance(meta, dict)  # noqa: S101  (its name is a string)
    shape = {"name": "string", "namespace": "string", "labels": "labels"}
    _demand(complaints(shape, {k: v for k, v in meta.items() if k in shape}, "metadata"), where)
    return meta


def _filled(thing: dict[str, Any], where: str) -> dict[str, Any]:
    """Check one of our objects, and add the metadata that an API server would have."""
    kind = thing["kind"]
    meta = _metadata(thing, where)
    where = f"{where} ({kind} '{meta['name']}')"
    _demand(complaints(SPECS[kind], thing.get("spec"), "spec"), where)
    _demand(_rules(kind, thing["spec"]), where)
    placed = {} if kind in CLUSTER_KINDS else {"namespace": meta.get("namespace", "default")}
    server = {"uid": "", "generation": 1, "resourceVersion": "0", "creationTimestamp": UNKNOWN_TIME}
    return {**copy.deepcopy(thing), "metadata": {**server, "name": meta["name"], **placed}}


def _rules(kind: str, spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield what our schemas' rules have against a policy's selectors."""
    if kind not in ("AgentPolicy", "ClusterAgentPolicy"):
        return
    effect = spec["effect"]
    needed = ["classes", "actions"] + (["namespaceSelector"] if kind in CLUSTER_KINDS else [])
    for name in needed:
        if effect == "Allow" and name not in spec:
            yield f"spec.{name} must be set when effect is Allow: absent, it would allow nothing"
    if (effect == "Constrain" and "limits" not in spec) or (effect == "Deny" and "limits" in spec):
        must = "must" if effect == "Constrain" else "must not"
        yield f"spec.limits {must} be set when effect is {effect}"
    for name in ("classes", "actions", "resources", "locations"):
        if name in spec and not spec[name]:
            yield f"spec.{name} must not be empty"
        for index, pattern in enumerate(spec.get(name, ())):
            if "*" in pattern[:-1]:
                yield f"spec.{name}[{index}] must hold '*' as the last character only"


def _take_ours(given: Given, thing: dict[str, Any]) -> None:
    match thing["kind"]:
        case "AgentTask":
            given.tasks.append(task_from(thing))
        case "CredentialClass":
            converted = class_from(thing)
            given.classes[converted.name] = converted
        case _:
            given.policies.append(policy_from(thing))


def _take_workload(given: Given, thing: Mapping[str, Any]) -> None:
    """Take a pod's labels and images out of a Pod or of a workload's template; ignore the rest."""
    template = thing if thing["kind"] == "Pod" else _get(_get(thing, "spec"), "template")
    labels = _get(_get(template, "metadata"), "labels")
    task = _get(labels, LABEL)
    spec = _get(template, "spec")
    if not isinstance(task, str) or next(complaints("labels", labels, ""), None):
        return
    containers = [
        container
        for name in ("initContainers", "containers")
        for container in _get(spec, name) or ()
    ]
    namespace = _get(_get(thing, "metadata"), "namespace") or "default"
    given.pods[(namespace, task)] = PodTemplate(
        labels=labels, images=tuple(str(_get(container, "image")) for container in containers)
    )


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _demand(found: Iterator[str], where: str) -> None:
    first = next(found, None)
    if first is not None:
        raise UsageError(f"{where}: {first}")
