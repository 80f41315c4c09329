"""Alerts, dashboard and `helm test`, as the chart renders them."""

import json

import yaml
from rendering import CHART, ENROLLED, NAMESPACE, of_kind, one, render

FILES = CHART / "files/monitoring"


def test_alerts_and_dashboard_are_off_by_default_as_their_crds_may_be_missing() -> None:
    assert of_kind(render(), "PrometheusRule", "ConfigMap") == []


def test_each_alert_names_its_page() -> None:
    values = {"enabled": True, "labels": {"release": "mine"}, "runbooks": "https://r.example/x/"}
    rule = one(render({"alerts": values}), "PrometheusRule", "taskpass", NAMESPACE)
    (group,) = rule["spec"]["groups"]
    written = yaml.safe_load((FILES / "alerts.yaml").read_text())

    assert rule["metadata"]["labels"]["release"] == "mine"
    for rendered, source in zip(group["rules"], written, strict=True):
        page = f"https://r.example/x/{source['alert']}.md"
        assert rendered == {
            **source, "annotations": {**source["annotations"], "runbook_url": page},
        }  # fmt: skip


def test_what_prometheus_fills_in_is_left_to_it() -> None:
    rules = one(render({"alerts": {"enabled": True}}), "PrometheusRule", "taskpass")
    text = str(rules["spec"])

    assert "{{ $labels.provider }}" in text
    assert "{{ $value | humanizeDuration }}" in text


def test_the_dashboard_is_the_file_and_has_the_sidecars_label() -> None:
    config = one(render({"dashboard": {"enabled": True}}), "ConfigMap", "taskpass-dashboard")

    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["taskpass.json"]) == json.loads(
        (FILES / "dashboard.json").read_text()
    )


def test_helm_test_runs_the_doctor_as_the_operator_with_its_settings() -> None:
    objects = render(ENROLLED)
    pod = one(objects, "Pod", "taskpass-test", NAMESPACE)
    (container,) = pod["spec"]["containers"]
    operator = one(objects, "Deployment", "taskpass")["spec"]["template"]["spec"]

    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["serviceAccountName"] == operator["serviceAccountName"]
    assert container["env"] == operator["containers"][0]["env"]
    assert container["image"] == operator["containers"][0]["image"]
    assert container["args"][:2] == ["doctor", "--no-volume"]
    assert "volumes" not in pod["spec"]
    assert pod["spec"]["securityContext"] == operator["securityContext"]
    assert container["securityContext"] == operator["containers"][0]["securityContext"]


def test_the_service_does_not_find_the_test() -> None:
    selector = one(render(), "Service", "taskpass")["spec"]["selector"]
    labels = one(render(), "Pod", "taskpass-test")["metadata"]["labels"]

    assert not selector.items() <= labels.items()
