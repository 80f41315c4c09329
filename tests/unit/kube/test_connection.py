"""Kubeconfigs that cannot be used end in one line."""

from pathlib import Path

import pytest

from taskpass.core.errors import UsageError
from taskpass.kube.connection import authority_of, from_kubeconfig

EMPTY = "apiVersion: v1\nkind: Config\n"


@pytest.mark.parametrize(
    "text",
    [None, "", EMPTY, EMPTY + "current-context: nowhere\n", "a: [", "- a list"],
    ids=["not there", "empty", "no contexts", "a context that is not there", "no YAML", "a list"],
)
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)

    for use in (from_kubeconfig, authority_of):
        with pytest.raises(UsageError) as refused:
            use(str(path))

        assert str(refused.value).startswith(f"The kubeconfig {path} cannot be used (")
        assert "\n" not in str(refused.value)
