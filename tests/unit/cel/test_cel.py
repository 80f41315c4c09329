import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskpass.cel.expressions import LONGEST, CelExpressions, checked
from taskpass.core.errors import EvaluationFailed
from taskpass.core.model.task import Intent
from taskpass.core.policy.variables import FIELDS, LONGEST_STRING, Kind, values_of
from tests.unit.core.policies import CLASS, NOW, QUESTION, TASK

ENGINE = CelExpressions()
VALUES = {**values_of(QUESTION, CLASS), "now": NOW}
GROUPS = "task.changedBy.groups"


def holds(source: str, values: dict[str, Any] = VALUES) -> bool:
    compiled = ENGINE.compile(source)
    return compiled.answer(checked(values, compiled.price.fields))


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("true", True),
        ("false", False),
        ("intent.goal.size() > 0 && class.sensitivity != 'Restricted'", True),
        ("class.sensitivity == 'Restricted' && task.sponsor == ''", False),
        ("task.sponsor != ''", True),
        ("task.requester.username == 'argocd' && 'pipelines' in task.requester.groups", True),
        (f"{GROUPS}.exists(g, g.startsWith('support-'))", True),
        ("intent.tools.all(t, t in ['tickets.read', 'kb.search'])", True),
        ("intent.data.all(d, d.classification in ['Public', 'Internal'])", True),
        ("request.actions == ['tickets.read'] && request.resources.size() == 1", True),
        ("request.expirationSeconds == 0 && class.maxExpirationSeconds == 3600", True),
        ("agent.podLabels.app == 'triage'", True),
        ("has(agent.podLabels.team)", False),
        ("'team' in agent.podLabels && agent.podLabels['team'] == 'x'", False),
        ("agent.workloadRef.kind == ''", True),
        ("phase == 'research'", True),
        ("now < timestamp('2026-01-02T03:04:06Z')", True),
        ("now.getHours('UTC') == 3", True),
        ("intent.goal.matches('^Answer ticket [0-9]+$')", True),
        ("false && int(intent.goal) == 1", False),
    ],
)
def test_an_expression_says_what_cel_says(source: str, answer: bool) -> None:
    assert holds(source) is answer


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("'yes'", id="a string"),
        pytest.param("1", id="a number"),
        pytest.param("[true]", id="a list"),
        pytest.param("null", id="null"),
        pytest.param("type(true)", id="a type"),
        pytest.param("dyn(true)", id="a boolean in disguise"),
        pytest.param("dyn('yes')", id="a string in disguise"),
        pytest.param("task.sponsor == '' ? true : dyn('yes')", id="a string in one branch"),
    ],
)
def test_what_is_not_a_boolean_does_not_compile(source: str) -> None:
    with pytest.raises(ValueError, match=r"^must be true or false, but is of type \w+"):
        ENGINE.compile(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(
            "task.sponser != ''",
            "line 1, column 5: undeclared reference to 'task.sponser'",
            id="a misspelt field",
        ),
        pytest.param(
            "true &&\n  foo",
            "line 2, column 3: undeclared reference to 'foo'",
            id="an unknown name in the second line",
        ),
        pytest.param(
            "phase == 1",
            "line 1, column 7: found no matching overload for '_==_' applied to '(string, int)'",
            id="a comparison of what is never equal",
        ),
        pytest.param(
            "has(task.sponsor)",
            "must be true or false, but is of type string (fields are always there: compare with "
            "'' or 0; has() is for keys of agent.podLabels)",
            id="has() on a field that is always there",
        ),
        pytest.param("x" * 4097, "must be at most 4096 characters, not 4097", id="too long"),
        pytest.param(
            "'\ud800' == ''", "must be Unicode text without lone surrogates", id="no text"
        ),
        pytest.param(
            "1" + " + 1" * 1000 + " > 0",
            "is nested too deeply, or has too long a chain of operators; split it",
            id="a long sum",
        ),
        pytest.param(
            "(" * 2000 + "true" + ")" * 2000,
            "is nested too deeply, or has too long a chain of operators; split it",
            id="deep brackets",
        ),
        pytest.param(
            "true" + " ? true : true" * 280,
            "is nested too deeply, or has too long a chain of operators; split it",
            id="a long chain of conditions",
        ),
    ],
)
def test_the_error_is_one_line_that_says_where_and_what(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ENGINE.compile(source)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(f"{GROUPS}.map(g, g) == {GROUPS}", id="map"),
        pytest.param(f"{GROUPS}.filter(g, true) == {GROUPS}", id="filter"),
        pytest.param("intent.goal + intent.goal == ''", id="a longer string"),
        pytest.param(f"{GROUPS} + {GROUPS} == []", id="a longer list"),
        pytest.param("[intent.goal].map(x, x + x).map(x, x + x) == []", id="doubling"),
        pytest.param("intent.goal.replace('a', 'aaaa') == ''", id="replacing"),
        pytest.param("optional.of(1).hasValue()", id="an extension"),
    ],
)
def test_nothing_can_be_built(source: str) -> None:
    with pytest.raises(ValueError, match=r"undeclared reference|no matching overload"):
        ENGINE.compile(source)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(f"{GROUPS}.all(a, {GROUPS}.all(b, true))", id="a loop in a loop"),
        pytest.param(f"{GROUPS}.all(a, {' && '.join([f'{GROUPS} == {GROUPS}'] * 20)})", id="wide"),
        pytest.param(f"{GROUPS}.all(g, g.matches('^[a-z]+$'))", id="patterns in a long loop"),
        pytest.param(" && ".join([f"intent.goal.matches('a{'.' * 50}c')"] * 2), id="hard patterns"),
        pytest.param(
            "intent.goal.matches('[^a][^b][^c][^d][^e][^f][^g][^h][^i][^j]c')", id="negated classes"
        ),
        pytest.param("[1, 2].all(a, " * 11 + "true" + ")" * 11, id="loops of two, eleven deep"),
        pytest.param("agent.podLabels.all(k, agent.podLabels.all(l, true))", id="loops over keys"),
    ],
)
def test_what_could_take_too_long_does_not_compile(source: str) -> None:
    with pytest.raises(ValueError, match=r"could take too long|nested too deeply"):
        ENGINE.compile(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("agent.podLabels.team == 'x'", 'Key not found in map : "team"'),
        ("request.actions[7] == 'x'", "Index error: index=7 size=1"),
        ("int(intent.goal) == 1", "cannot convert string to int"),
        ("1 / (request.expirationSeconds) == 1", "divide by zero"),
        ("9223372036854775807 + class.maxExpirationSeconds > 0", "integer overflow"),
    ],
)
def test_an_error_at_run_time_is_never_true(source: str, message: str) -> None:
    with pytest.raises(EvaluationFailed) as caught:
        holds(source)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("source", "error"),
    [
        pytest.param(
            "intent.goal.matches(task.sponsor)", "must be written there, not computed", id="a field"
        ),
        pytest.param(
            "intent.tools.all(t, t.matches(t))", "must be written there, not computed", id="a loop"
        ),
        pytest.param(
            "intent.goal.matches('a' == 'a' ? 'x' : 'y')", "must be written there", id="a choice"
        ),
        pytest.param(
            f"intent.goal.matches('{'a' * 65}')", "at most 64 characters, not 65", id="long"
        ),
        pytest.param("intent.goal.matches('\u00e9')", "must be ASCII", id="not ASCII"),
        pytest.param("intent.goal.matches(r'\\pL')", "no .p or .P", id="a class of Unicode"),
        pytest.param("intent.goal.matches(r'[\\PL]')", "no .p or .P", id="another"),
        pytest.param("matches(intent.goal, r'\\pL')", "no .p or .P", id="called as a function"),
        pytest.param("intent.goal.matches('a{2}')", "no {", id="a counted repetition"),
        pytest.param("intent.goal.matches('(?i)a')", "no flags", id="a flag"),
        pytest.param("intent.goal.matches('(?s-mi:a)')", "no flags", id="flags of a group"),
    ],
)
def test_a_pattern_is_short_simple_and_written_in_the_expression(source: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        ENGINE.compile(source)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("now.getHours(task.sponsor) > 1", "a time zone must be written there"),
        ("now.getHours('/proc/self/fd/0') > 1", "must be a name such as"),
        ("now.getHours('../../proc/self/fd/0') > 1", "must be a name such as"),
        ("now.getDayOfWeek('file:x') > 1", "must be a name such as"),
    ],
)
def test_a_time_zone_is_a_name_and_no_file(source: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        ENGINE.compile(source)


def test_a_class_a_group_and_a_zone_may_be_used() -> None:
    assert holds("intent.goal.matches(r'^(?:Answer|answer) ticket [0-9]+$')")
    assert holds("now.getHours('+01:00') == 4 && now.getHours('UTC') == 3")


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("intent.goal", "x" * (LONGEST_STRING + 1), id="a huge string"),
        pytest.param("intent.goal", deep(100_000), id="data a hundred thousand lists deep"),
        pytest.param("intent.tools", deep(100_000), id="such data in a list"),
        pytest.param("intent.tools", ["x"] * 65, id="too many tools"),
        pytest.param("task.changedBy.groups", ["g"] * 513, id="too many groups"),
        pytest.param("agent.podLabels", {str(n): "" for n in range(257)}, id="too many labels"),
        pytest.param("intent.data", [{"name": deep(9)}], id="a record that is no record"),
        pytest.param("request.expirationSeconds", 2**63, id="a number beyond 64 bits"),
        pytest.param("request.expirationSeconds", True, id="a boolean for a number"),
        pytest.param("intent.goal", "\ud800", id="text that is no Unicode"),
        pytest.param("now", NOW.replace(tzinfo=None), id="a time without a zone"),
        pytest.param("phase", None, id="nothing"),
    ],
)
def test_input_beyond_its_size_or_type_is_not_looked_at(path: str, value: Any) -> None:
    with pytest.raises(EvaluationFailed, match=f"^{path} is too large to be looked at, or not"):
        checked(changed(path, value), [path])


def test_a_missing_field_is_an_error_and_not_empty() -> None:
    values = {name: value for name, value in VALUES.items() if name != "agent.podName"}

    with pytest.raises(EvaluationFailed, match="a field is missing"):
        holds("agent.podName == ''", values)


def changed(path: str, value: Any) -> dict[str, Any]:
    return {**VALUES, path: value}


def test_the_largest_input_that_the_api_allows_is_looked_at() -> None:
    sizes = {
        Kind.STRINGS: lambda field: ["x" * field.length] * field.items,
        Kind.LABELS: lambda field: {str(n): "x" * 63 for n in range(field.items)},
        Kind.RECORDS: lambda field: [{"name": "x" * 253, "classification": "P"}] * field.items,
    }
    for field in FIELDS:
        if field.kind in sizes:
            values = changed(field.name, sizes[field.kind](field))
            assert holds(f"{field.name}.size() == {field.items}", values)


def test_every_field_has_a_value_and_can_be_named() -> None:
    for field, value in ((field, VALUES[field.name]) for field in FIELDS):
        empty = {
            Kind.STRING: "''",
            Kind.INT: "-1",
            Kind.TIMESTAMP: "timestamp('2000-01-01T00:00:00Z')",
            Kind.STRINGS: "['x']",
            Kind.LABELS: "{'x': 'y'}",
            Kind.RECORDS: "[{'x': 'y'}]",
        }[field.kind]

        assert holds(f"{field.name} != {empty}") is (value != "")


def test_what_is_not_set_is_empty_and_no_error() -> None:
    bare = replace(QUESTION, task=replace(TASK, sponsor="", intent=Intent()), phase="")

    assert holds(
        "task.sponsor == '' && intent.goal == '' && intent.tools == [] && intent.data == []"
        " && intent.trustBoundary == '' && phase == '' && request.location == ''",
        values_of(bare, CLASS),
    )


def test_several_threads_may_compile_and_evaluate() -> None:
    answers: list[bool] = []

    def work(number: int) -> None:
        answers.extend(holds(f"{number} + {n} >= 0 && task.sponsor != ''") for n in range(50))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [True] * 400


def test_an_expression_of_the_longest_length_compiles() -> None:
    source = "true" + " " * (LONGEST - 4)

    assert holds(source)


WORDS = (
    "task.sponsor intent.goal request.actions agent.podLabels ( ) [ ] { } , . ! - + * / % == != < "
    "&& || ? : in 'a' 1 1.5 true null .all(x, .exists(x, .exists_one(x, .size() b'a' r'\\' \" ' x "
    "has( timestamp( duration( dyn( now phase @ # \\ \n // 0x 1u type( google.protobuf.Any{ matches"
).split(" ")


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=200))
def test_any_text_is_refused_in_one_line_or_answers_yes_no_or_an_error(source: str) -> None:
    said: object
    try:
        said = holds(source)
    except (ValueError, EvaluationFailed) as error:
        said = str(error)

    assert said in (True, False) or (isinstance(said, str) and 0 < len(said.splitlines()) < 2)
