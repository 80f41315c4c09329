"""What the API server itself says to bad objects: the table of tests/api, on the real thing."""

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

from e2e.admission import ROOT, TENANT, remove
from e2e.impersonate import PATHS, Api, Refused


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tests/api/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


objects = _load("api_objects")


def placed(thing: dict[str, Any]) -> dict[str, Any]:
    """Put an object of a namespaced kind into the tenant's namespace."""
    if "{namespace}" in PATHS[thing["kind"]]:
        thing["metadata"]["namespace"] = TENANT
    return thing


@pytest.mark.parametrize("kind", objects.SPECS)
def test_a_good_object_is_accepted(api: Api, kind: str) -> None:
    made = api.create(placed(objects.good(kind)), dryRun="All", fieldValidation="Strict")

    assert made["metadata"]["uid"]


@pytest.mark.parametrize("bad", objects.REFUSALS, ids=str)
def test_a_bad_object_is_refused_in_these_words(api: Api, bad: Any) -> None:
    thing = placed(bad.thing)
    if bad.on_update:
        made = api.create(placed(bad.before))
        thing["metadata"] = made["metadata"]

    try:
        with pytest.raises(Refused) as refused:
            (api.replace if bad.on_update else api.create)(
                thing, dryRun="All", fieldValidation="Strict"
            )
        assert bad.message in refused.value.message
        assert refused.value.status in (400, 422)
    finally:
        if bad.on_update:
            remove(api, made)
