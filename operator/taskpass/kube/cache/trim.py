"""Objects cut to what decisions need, as they arrive: what else is in them is anybody's to fill.

Whoever may write an object may put a quarter of a megabyte of annotations into it, and every server
that ever applied it leaves its managedFields. None of that is kept, not even for a moment longer
than it takes to read the object.
"""

from collections.abc import Mapping
from typing import Any

from taskpass.core.model.task import FINALIZER

OURS = "taskpass.dev/"
MOST_ANNOTATIONS = 16
LONGEST_VALUE = 8192
"""A stamp names a user with groups, as admission wrote it; anything longer is none of ours."""
METADATA = (
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp",
)  # fmt: skip


def cut(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of one of our kinds with nothing in its metadata but what is looked at."""
    meta = obj["metadata"]
    kept = {name: meta[name] for name in METADATA if name in meta}
    if annotations := _ours(meta.get("annotations") or {}):
        kept["annotations"] = annotations
    if FINALIZER in (meta.get("finalizers") or ()):
        kept["finalizers"] = [FINALIZER]
    return {**obj, "metadata": kept}


def cut_event(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an event of a watch with its object cut; errors and bookmarks as they are."""
    obj = event.get("object")
    if event.get("type") == "ERROR" or not isinstance(obj, dict) or "name" not in _meta(obj):
        return event
    return {**event, "object": cut(obj)}


def cut_list(page: Any) -> Any:
    """Return a page of a list with each of its items cut; anything else as it is."""
    items = page.get("items") if isinstance(page, dict) else None
    return {**page, "items": [cut(item) for item in items]} if isinstance(items, list) else page


def without_spec(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task of a namespace that is not served: who it is, and what its status says."""
    agent = {"serviceAccountName": obj["spec"]["agent"]["serviceAccountName"]}
    return {**obj, "spec": {"agent": agent}}


def _meta(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = obj.get("metadata")
    return meta if isinstance(meta, dict) else {}


def _ours(annotations: Mapping[str, str]) -> dict[str, str]:
    found = ((k, v) for k, v in annotations.items() if k.startswith(OURS))
    fine = ((k, v) for k, v in found if len(v) <= LONGEST_VALUE)
    return dict(pair for pair, _ in zip(fine, range(MOST_ANNOTATIONS), strict=False))
