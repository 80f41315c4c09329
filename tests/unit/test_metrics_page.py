"""docs/metrics.md describes every metric and every alert, and alerts and dashboard name only those.

There is no Prometheus to parse the expressions: names, labels and brackets are compared.
"""

import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client import Metric

from e2e.demo.documents import ROOT, commands
from taskpass.flows.budgeting import Budgets
from taskpass.flows.cluster.witnessing import WitnessState
from taskpass.runtime.metrics import Metrics
from taskpass.server.health import Health
from tests.unit.test_documents import table
from tests.unit.test_metrics import watched

PAGE = ROOT / "docs/metrics.md"
RUNBOOKS = ROOT / "docs/runbooks"
MONITORING = ROOT / "charts/taskpass/files/monitoring"
ALERTS: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [(p["title"], t["expr"]) for p in PANELS for t in p["targets"]]
EXPRESSIONS = [
    *(pytest.param(a["expr"], id=a["alert"]) for a in ALERTS),
    *(pytest.param(expr, id=title) for title, expr in QUERIES),
]
FUNCTIONS = {"sum", "min", "by", "rate", "increase", "absent", "histogram_quantile"}
ENDINGS = ("_bucket", "_sum", "_count")


def collected() -> list[Metric]:
    """Return every metric of an operator that has done nothing yet."""
    metrics: Metrics = watched()
    metrics.ready(Health().checks()[1])
    nothing: Any = SimpleNamespace()
    metrics.measured("Kubernetes", nothing)
    metrics.budgets(Budgets())
    metrics.remembered(lambda: 0, lambda: {"w1": WitnessState()})
    return list(metrics.registry.collect())


def named(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def labels_of(name: str) -> set[str]:
    """Return the labels of a metric, by what the page says."""
    return set(re.findall(r"`(\w+)`", table(PAGE, "metric")[name][1]))


def test_every_metric_is_described_with_its_kind() -> None:
    told = {name: cells[0] for name, cells in table(PAGE, "metric").items()}

    assert told == {named(metric): metric.type for metric in collected()}


def test_every_label_is_described() -> None:
    for metric in collected():
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == labels_of(named(metric)), metric.name
    metrics = Metrics()
    metrics.call("get", "pods", 200, 0.1)
    [sample] = [
        s for m in metrics.registry.collect() for s in m.samples
        if s.name == "taskpass_api_calls_total"
    ]  # fmt: skip
    assert set(sample.labels) == labels_of("taskpass_api_calls_total")


def test_every_check_of_readiness_is_described() -> None:
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith("| `/readyz`")]

    for check in Health().checks()[1]:
        assert f"`{check}`" in row


def words(expression: str) -> Iterator[str]:
    """Yield the names in an expression that are no labels, numbers, texts or durations."""
    plain = re.sub(r'"[^"]*"', "", expression)
    plain = re.sub(r"\[[^\]]*\]|\{[^}]*\}|\bby \([^)]*\)", "", plain)
    yield from re.findall(r"[a-z_]\w*", plain)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_names_metrics_that_exist(expression: str) -> None:
    kinds = {name: cells[0] for name, cells in table(PAGE, "metric").items()}
    there = set(kinds) | {
        n + ending for n, kind in kinds.items() if kind == "histogram" for ending in ENDINGS
    }
    found = [word for word in words(expression) if word not in FUNCTIONS]

    assert found
    assert set(found) <= there
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_uses_labels_that_its_metric_has(expression: str) -> None:
    (whole,) = {word for word in words(expression) if word.startswith("taskpass_")}
    name = next(whole.removesuffix(e) for e in ENDINGS if whole.endswith(e)) if (
        whole.endswith(ENDINGS)
    ) else whole  # fmt: skip
    used = set(re.findall(r"(\w+)\s*!?=\s*\"", expression))
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        used |= {label.strip() for label in group.split(",")}

    assert used <= labels_of(name) | {"le"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_counted_is_looked_at_as_a_rate_and_nothing_else_is(expression: str) -> None:
    counted = re.search(r"taskpass_\w+?_(total|bucket)\b", expression) is not None

    assert counted == (re.search(r"\b(rate|increase)\(", expression) is not None)


def test_every_alert_is_listed_with_its_severity() -> None:
    listed = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \|", PAGE.read_text(), re.M)

    assert [(name, severity) for name, _, severity in listed] == [
        (a["alert"], a["labels"]["severity"]) for a in ALERTS
    ]
    assert all(name == page for name, page, _ in listed)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda a: a["alert"])
def test_every_alert_has_a_page_and_says_what_it_sees(alert: dict[str, Any]) -> None:
    page = RUNBOOKS / f"{alert['alert']}.md"

    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)

    assert headings == [alert["alert"], "What it means", "Look", "Do"]
    assert commands(page)
    assert re.fullmatch(r"\d+m", alert["for"])
    assert set(alert["annotations"]) == {"summary", "description"}
    for label in re.findall(r"\$labels\.(\w+)", alert["annotations"]["description"]):
        assert f"by ({label})" in alert["expr"]


def test_there_is_no_page_without_its_alert() -> None:
    assert {p.stem for p in RUNBOOKS.glob("*.md")} == {a["alert"] for a in ALERTS}


def test_the_dashboard_asks_the_chosen_data_source_and_its_panels_do_not_overlap() -> None:
    (choice,) = DASHBOARD["templating"]["list"]
    cells = [
        (x, y)
        for p in PANELS
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]

    assert choice["type"] == "datasource"
    assert {p["datasource"]["uid"] for p in PANELS} == {f"${{{choice['name']}}}"}
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({p["id"] for p in PANELS}) == len(PANELS)
    for panel in PANELS:
        refs = [t["refId"] for t in panel["targets"]]
        assert len(refs) == len(set(refs))
