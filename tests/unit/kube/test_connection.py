"""Kubeconfigs that cannot be used end in one line."""

from pathlib import Path

import pytest
import yaml

from taskpass.core.errors import UsageError
from taskpass.kube.api.connection import authority_of, from_kubeconfig

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


def test_who_a_kubeconfig_speaks_as_is_told_to_the_api_server(tmp_path: Path) -> None:
    """The client library reads none of it; without it a word would be given in another's name."""
    path = tmp_path / "kubeconfig"
    user = {"token": "t", "as": "lea", "as-uid": "7", "as-groups": ["support-leads", "staff"],
            "as-user-extra": {"example.org/reason": ["INC-42"]}}  # fmt: skip
    path.write_text(yaml.safe_dump({
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "admin"}}],
        "current-context": "x",
    }))  # fmt: skip

    assert from_kubeconfig(str(path)).impersonate == (
        ("Impersonate-User", "lea"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "support-leads"),
        ("Impersonate-Group", "staff"),
        ("Impersonate-Extra-example.org%2Freason", "INC-42"),
    )
