"""Settings from environment and flags; what cannot be used ends the start with one line."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from taskpass.core.errors import UsageError
from taskpass.runtime.settings import Settings, load

WITNESS = "example.org/w1+83db2906+BPpINBR/bmkMNpPv9hM2BGQDzYrioU8xs8QHNYVpI5Vl"
LEAST = {"namespace": "taskpass-system"}


def read(flags: Mapping[str, str | None], **variables: str) -> Settings:
    """Load with these variables as the environment."""
    return load(flags, variables)


def test_what_is_not_set_has_its_default() -> None:
    settings = load(LEAST, {})

    assert settings.audience == "taskpass"
    assert settings.tenants == ()
    assert settings.targets == {}
    assert settings.ledger_path == Path("/var/lib/taskpass/ledger.db")
    assert settings.cluster_server == "https://kubernetes.default.svc"
    assert (settings.http_port, settings.workers, settings.sweep_seconds) == (9090, 1024, 60)
    assert settings.log_level == "info"


def test_a_ledger_that_is_named_by_a_link_is_where_its_file_lies(tmp_path: Path) -> None:
    """Its volume is looked at for room, and what is asked of the operator is beside it."""
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "volume" / "ledger.db")

    found = load({**LEAST, "ledger_path": str(link)}, {}).ledger_path

    assert found == tmp_path / "volume" / "ledger.db"


def test_everything_can_be_set_by_the_environment() -> None:
    settings = read(
        {},
        TASKPASS_NAMESPACE="taskpass-system",
        TASKPASS_TENANTS='["support", "research"]',
        TASKPASS_TARGETS='{"kb": {"clusterRoles": ["kb-reader"], "roles": ["r"]}}',
        TASKPASS_AUDIENCE="taskpass.example",
        TASKPASS_LEDGER_PATH="/data/ledger.db",
        TASKPASS_CLUSTER_SERVER="https://api.example:6443",
        TASKPASS_HTTP_PORT="8081",
        TASKPASS_WORKERS="4",
        TASKPASS_SWEEP_SECONDS="5",
        TASKPASS_LOG_LEVEL="debug",
    )  # fmt: skip

    assert settings.tenants == ("support", "research")
    assert settings.targets["kb"].clusterRoles == ("kb-reader",)
    assert settings.targets["kb"].roles == ("r",)
    assert settings.audience == "taskpass.example"
    assert settings.ledger_path == Path("/data/ledger.db")
    assert settings.cluster_server == "https://api.example:6443"
    assert (settings.http_port, settings.workers, settings.sweep_seconds) == (8081, 4, 5)
    assert settings.log_level == "debug"


def test_harmless_writes_are_resources_with_their_groups() -> None:
    settings = read(LEAST, TASKPASS_HARMLESS_WRITES='["tickets.example.com", "services/status"]')

    assert settings.harmless == {("example.com", "tickets"), ("", "services/status")}


def test_a_flag_wins_over_the_environment() -> None:
    settings = read({**LEAST, "http_port": "1234"}, TASKPASS_HTTP_PORT="8081")

    assert settings.http_port == 1234


def test_a_flag_that_is_not_given_leaves_the_environment() -> None:
    settings = read({**LEAST, "http_port": None}, TASKPASS_HTTP_PORT="8081")

    assert settings.http_port == 8081


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        pytest.param({"TASKPASS_TENANT": "support"}, "TASKPASS_TENANT is not", id="a typing error"),
        pytest.param(
            {"TASKPASS_HARMLESS_WRITES": '["*"]'}, "TASKPASS_HARMLESS_WRITES", id="everything"
        ),
        pytest.param({"TASKPASS_HTTP_PORT": "high"}, "TASKPASS_HTTP_PORT", id="not a number"),
        pytest.param({"TASKPASS_HTTP_PORT": "65536"}, "TASKPASS_HTTP_PORT", id="too large"),
        pytest.param({"TASKPASS_WORKERS": "0"}, "TASKPASS_WORKERS", id="too small"),
        pytest.param({"TASKPASS_LOG_LEVEL": "loud"}, "TASKPASS_LOG_LEVEL", id="not a level"),
        pytest.param({"TASKPASS_NAMESPACE": "Not_A_Name"}, "TASKPASS_NAMESPACE", id="not a name"),
        pytest.param(
            {"TASKPASS_CLUSTER_SERVER": "http://api.example"}, "https://", id="a plain URL"
        ),
        pytest.param(
            {"TASKPASS_TENANTS": '["kube-system"]'},
            "^TASKPASS_TENANTS must not hold kube-system$",
            id="kube-system as a tenant",
        ),
        pytest.param(
            {"TASKPASS_TENANTS": '["taskpass-system"]'},
            "^TASKPASS_TENANTS must not hold taskpass-system$",
            id="its own namespace as a tenant, where its signing key is",
        ),
        pytest.param(
            {"TASKPASS_TARGETS": '{"taskpass-system": {"roles": ["r"]}}'},
            "^TASKPASS_TARGETS must not hold taskpass-system$",
            id="its own namespace as a target",
        ),
        pytest.param(
            {"TASKPASS_TARGETS": '{"taskpass-grants": {"roles": ["r"]}}'},
            "^TASKPASS_TARGETS must not hold taskpass-grants$",
            id="the namespace of grants as a target",
        ),
        pytest.param(
            {"TASKPASS_TENANTS": '["Support"]'},
            "^TASKPASS_TENANTS: 'Support' is no namespace's name$",
            id="a tenant in capitals",
        ),
        pytest.param(
            {"TASKPASS_TENANTS": '["../secrets"]'},
            "^TASKPASS_TENANTS: '../secrets' is no namespace's name$",
            id="a tenant that would lead elsewhere",
        ),
        pytest.param(
            {"TASKPASS_TENANTS": "support"}, "TASKPASS_TENANTS: must be JSON", id="not JSON"
        ),
        pytest.param(
            {"TASKPASS_WITNESS_POLICY": "witness w1"},
            "TASKPASS_WITNESS_POLICY: .*line 1: must be 'log VKEY",
            id="a policy that is none",
        ),
        pytest.param(
            {"TASKPASS_WITNESS_POLICY": f"witness w {WITNESS}\nquorum w"},
            "TASKPASS_WITNESS_POLICY: .*demands witnesses, and none has a URL",
            id="a quorum that can never be met",
        ),
        pytest.param(
            {"TASKPASS_WITNESS_POLICY": f"witness w {WITNESS} w.example.org\nquorum w"},
            "TASKPASS_WITNESS_POLICY: .*the URL of witness 'w' must begin with https://",
            id="an address that is none",
        ),
        pytest.param(
            {"TASKPASS_TARGETS": '{"kb": {"clusterRole": ["x"]}}'}, "clusterRole", id="unknown key"
        ),
    ],
)
def test_what_cannot_be_used_ends_the_start_with_one_line(
    variables: dict[str, str], said: str
) -> None:
    flags = {} if "TASKPASS_NAMESPACE" in variables else LEAST

    with pytest.raises(UsageError, match=said) as refusal:
        read(flags, **variables)

    assert "\n" not in str(refusal.value)


def test_a_namespace_must_be_given() -> None:
    with pytest.raises(UsageError, match="TASKPASS_NAMESPACE"):
        load({}, {})


def test_a_setting_that_is_unknown_lists_those_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"TASKPASS_AUDIENCE, .*TASKPASS_WORKERS"):
        load(LEAST, {"TASKPASS_NOPE": "1"})


def test_other_programs_variables_are_none_of_ours() -> None:
    assert load(LEAST, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).namespace == "taskpass-system"


def test_settings_cannot_be_changed() -> None:
    settings = load(LEAST, {})

    with pytest.raises(ValueError, match="frozen"):
        settings.workers = 5


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_says_its_default_or_that_there_is_none(name: str) -> None:
    source = Path(__file__).parents[2] / "operator" / "taskpass" / "runtime" / "settings.py"

    after = source.read_text().split(f"    {name}: ", 1)[1]
    docstring = after.split('"""')[1]

    assert "Default" in docstring or "No default" in docstring


def test_service_links_of_kubernetes_are_no_settings() -> None:
    links = {
        "TASKPASS_SERVICE_HOST": "10.96.0.7",
        "TASKPASS_SERVICE_PORT": "9090",
        "TASKPASS_SERVICE_PORT_HTTP": "9090",
        "TASKPASS_PORT": "tcp://10.96.0.7:9090",
        "TASKPASS_PORT_9090_TCP": "tcp://10.96.0.7:9090",
        "TASKPASS_PORT_9090_TCP_PROTO": "tcp",
        "TASKPASS_PORT_9090_TCP_PORT": "9090",
        "TASKPASS_PORT_9090_TCP_ADDR": "10.96.0.7",
    }

    assert load({"namespace": "home"}, links).namespace == "home"
    with pytest.raises(UsageError, match="TASKPASS_PORTAL is not a setting"):
        load({"namespace": "home"}, {"TASKPASS_PORTAL": "x"})
