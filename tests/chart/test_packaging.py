import subprocess
from pathlib import Path

import yaml
from rendering import CHART, helm, of_kind, render


def test_helm_has_nothing_to_complain_about() -> None:
    said = subprocess.run([helm(), "lint", "--strict", str(CHART)], capture_output=True, text=True)

    assert said.returncode == 0, said.stdout


def test_a_package_holds_the_crds_that_the_repository_links_to(tmp_path: Path) -> None:
    subprocess.run(
        [helm(), "package", str(CHART), "--destination", str(tmp_path)],
        check=True,
        capture_output=True,
    )
    (package,) = tmp_path.glob("*.tgz")
    text = subprocess.run(
        [helm(), "template", "taskpass", str(package), "--kube-version", "1.36.0"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    packaged = of_kind(list(filter(None, yaml.safe_load_all(text))), "CustomResourceDefinition")
    assert [o["spec"] for o in packaged] == [
        o["spec"] for o in of_kind(render(), "CustomResourceDefinition")
    ]
    assert len(packaged) == 8


def test_every_policy_is_in_the_readme() -> None:
    text = (CHART / "README.md").read_text()

    for policy in of_kind(render(), "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"):
        assert f"`{policy['metadata']['name']}`" in text
