"""The image that is built without an engine holds what the Dockerfile says."""

import re
from pathlib import Path

from e2e.image import contents

ROOT = Path(__file__).parents[3]
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())


def last(instruction: str) -> str:
    return re.findall(rf"^{instruction} (.*)$", DOCKERFILE, re.MULTILINE)[-1]


def test_both_start_from_the_same_debian() -> None:
    assert f"FROM debian:{contents.SUITE}-slim AS system" in DOCKERFILE


def test_both_install_the_same_packages() -> None:
    installed = re.search(r"install --yes --no-install-recommends ([^&]+?) *&&", DOCKERFILE)

    assert installed
    assert tuple(installed[1].split()) == contents.PACKAGES


def test_both_install_the_locked_dependencies_with_their_hashes() -> None:
    assert f"COPY {contents.LOCK} /run.lock" in DOCKERFILE
    assert (
        "RUN pip install --require-hashes --only-binary=:all: --no-deps"
        f" --target {contents.LIBRARIES} -r /run.lock"
    ) in DOCKERFILE


def test_both_hold_the_code_and_the_command_in_the_same_place() -> None:
    assert f"COPY operator/taskpass {contents.CODE}/taskpass" in DOCKERFILE
    assert f"COPY --chmod=755 e2e/image/taskpass /{contents.SCRIPT}" in DOCKERFILE


def test_both_run_as_the_same_user_with_the_same_environment() -> None:
    variables = dict(pair.split("=", 1) for pair in last("ENV").split())

    assert variables == contents.ENVIRONMENT
    assert last("USER") == contents.USER
    assert last("ENTRYPOINT") == '["taskpass"]'
    assert contents.ENTRYPOINT == ("taskpass",)


def test_the_suite_has_the_python_that_dependencies_are_chosen_for() -> None:
    """The project's oldest, so that what runs in the image is what `requires-python` promises."""
    assert f'requires-python = ">={contents.PYTHON}' in (ROOT / "pyproject.toml").read_text()
