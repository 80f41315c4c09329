"""Who may reach the operator's ports, as the chart renders it."""

import pytest
from rendering import NAMESPACE, HelmFailed, of_kind, one, render

PROMETHEUS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
AUDITORS = {"ipBlock": {"cidr": "192.0.2.0/24"}}


def test_by_default_nobody_but_its_node_reaches_the_operator() -> None:
    policy = one(render(), "NetworkPolicy", "taskpass", NAMESPACE)
    operator = one(render(), "Deployment", "taskpass")["spec"]["template"]["metadata"]["labels"]

    selected = policy["spec"]["podSelector"]["matchLabels"]
    assert selected.items() <= operator.items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert not policy["spec"]["ingress"]


def test_whom_the_values_list_reaches_that_port_and_no_other() -> None:
    values = {
        "networkPolicy": {"metricsFrom": [PROMETHEUS], "readApiFrom": [AUDITORS]},
        "readApi": {"tlsSecretName": "log-tls"},
    }
    rules = one(render(values), "NetworkPolicy", "taskpass")["spec"]["ingress"]
    ports = one(render(values), "Deployment", "taskpass")["spec"]["template"]["spec"]

    assert rules == [
        {"ports": [{"protocol": "TCP", "port": "http"}], "from": [PROMETHEUS]},
        {"ports": [{"protocol": "TCP", "port": "log"}], "from": [AUDITORS]},
    ]
    named = {each["name"] for each in ports["containers"][0]["ports"]}
    assert {rule["ports"][0]["port"] for rule in rules} == named


def test_a_log_that_is_not_served_has_no_port_to_open() -> None:
    values = {"networkPolicy": {"readApiFrom": [AUDITORS]}}

    assert not one(render(values), "NetworkPolicy", "taskpass")["spec"]["ingress"]


def test_it_can_be_left_to_others() -> None:
    assert of_kind(render({"networkPolicy": {"enabled": False}}), "NetworkPolicy") == []


def test_an_empty_peer_which_would_be_everybody_is_refused() -> None:
    with pytest.raises(HelmFailed):
        render({"networkPolicy": {"metricsFrom": [{}]}})
