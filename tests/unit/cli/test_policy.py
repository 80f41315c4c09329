import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.policy.command import policy
from taskpass.core.errors import UsageError

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-first-task"

TASK = """
apiVersion: taskpass.dev/v1alpha1
kind: AgentTask
metadata: {name: ticket-4711, namespace: support}
spec:
  agent: {serviceAccountName: triage-agent}
  sponsor: support-platform
  intent: {goal: Answer ticket 4711}
  credentials:
  - {name: tickets, classRef: {name: tickets}, actions: [read], resources: [namespace/tickets]}
"""
PHASES = """
  phases:
  - {name: research, next: [reply]}
  - name: reply
    credentials:
    - {name: reply, classRef: {name: tickets}, actions: [write], resources: [namespace/tickets]}
"""
CLASS = """
---
apiVersion: taskpass.dev/v1alpha1
kind: CredentialClass
metadata: {name: tickets}
spec:
  provider: Kubernetes
  kubernetes:
    roles:
    - {action: read, kind: ClusterRole, name: r}
    - {action: write, kind: ClusterRole, name: w}
    namespaces: [tickets]
  actions: [read, write]
  namespaceSelector: {}
"""
ALLOW = """
---
apiVersion: taskpass.dev/v1alpha1
kind: AgentPolicy
metadata: {name: triage, namespace: support}
spec:
  effect: Allow
  classes: [tickets]
  actions: [read]
  resources: ["namespace/*"]
  limits: {maxExpirationSeconds: 600}
"""
DENY = """
---
apiVersion: taskpass.dev/v1alpha1
kind: ClusterAgentPolicy
metadata: {name: freeze}
spec:
  effect: Deny
  validations:
  - {expression: task.sponsor == 'support-platform', message: the change freeze is on until Monday}
"""
JOB = """
---
apiVersion: batch/v1
kind: Job
metadata: {name: ticket-4711, namespace: support}
spec:
  template:
    metadata: {labels: {taskpass.dev/task: ticket-4711, app: triage}}
    spec: {containers: [{name: agent, image: agent@sha256:DIGEST}]}
""".replace("DIGEST", "a" * 64)


@pytest.fixture
def explain(tmp_path: Path) -> Any:
    def run(text: str | bytes, *arguments: str) -> Result:
        file = tmp_path / "task.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return CliRunner().invoke(policy, ["explain", "-f", str(file), *arguments])

    return run


def refusal(result: Result) -> str:
    assert isinstance(result.exception, UsageError)
    assert "\n" not in str(result.exception)
    return str(result.exception).partition("task.yaml")[2]


def test_the_example_is_allowed_and_says_by_which_policy() -> None:
    files = [argument for path in sorted(EXAMPLE.glob("*.yaml")) for argument in ("-f", str(path))]

    result = CliRunner().invoke(policy, ["explain", *files, "--as", "jane"])

    assert result.exit_code == 0
    assert result.output == (
        "AgentTask support/ticket-4711\n"
        "  agent triage-agent, applied by jane\n"
        "\n"
        "  allowed  tickets: tickets.read on namespace/tickets, of class tickets\n"
        "           AgentPolicy 'support/triage' allows it for 600 s\n"
        "           Credentials: revoked at once, for 600 s or longer, sessions end with it.\n"
        "\n"
        "1 of 1 requests allowed.\n"
    )


def test_every_request_of_every_phase_is_explained(explain: Any) -> None:
    result = explain(TASK + PHASES + CLASS + ALLOW)

    assert result.exit_code == 1
    assert result.output == (
        "AgentTask support/ticket-4711\n"
        "  agent triage-agent, applied by nobody in particular (see --as)\n"
        "  Namespace 'support' is not in the files: taken to have no labels\n"
        "\n"
        "  phase research\n"
        "  allowed  tickets: read on namespace/tickets, of class tickets\n"
        "           AgentPolicy 'support/triage' allows it for 600 s\n"
        "           Credentials: revoked at once, for 600 s or longer, sessions end with it.\n"
        "\n"
        "  phase reply\n"
        "  allowed  tickets: read on namespace/tickets, of class tickets\n"
        "           AgentPolicy 'support/triage' allows it for 600 s\n"
        "           Credentials: revoked at once, for 600 s or longer, sessions end with it.\n"
        "  denied   reply: write on namespace/tickets, of class tickets\n"
        "           NoPolicy: No policy allows it; AgentPolicy 'support/triage' comes nearest"
        " but does not\n"
        "           cover: action 'write'\n"
        "\n"
        "2 of 3 requests allowed.\n"
    )


def test_a_denial_says_what_the_policy_s_author_meant(explain: Any) -> None:
    result = explain(TASK + CLASS + ALLOW + DENY)

    assert result.exit_code == 1
    assert (
        "Denied: ClusterAgentPolicy 'freeze' denies it: the change freeze is on until Monday"
        in " ".join(result.output.split())
    )


def test_a_policy_that_does_not_compile_is_shown_with_its_error(explain: Any) -> None:
    result = explain(TASK + CLASS + ALLOW + DENY.replace("task.sponsor", "task.sponser"))

    assert result.exit_code == 1
    assert "  unclear  tickets: read" in result.output
    assert (
        "Cannot be evaluated: ClusterAgentPolicy 'freeze': spec.validations[0].expression: line 1, "
        "column 5: undeclared reference to 'task.sponser'" in " ".join(result.output.split())
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 1),
        (("--as", "joe"), 1),
        (("--as", "jane"), 0),
        (("--as", "joe", "--as-group", "leads"), 0),
        (("--as", "leads"), 1),
    ],
)
def test_requesters_are_judged_for_as(explain: Any, arguments: tuple[str, ...], code: int) -> None:
    policies = ALLOW + "  requesters: {usernames: [jane], groups: [leads]}\n"

    assert explain(TASK + CLASS + policies, *arguments).exit_code == code


def test_users_that_a_file_claims_are_not_believed(explain: Any) -> None:
    policies = ALLOW + "  requesters: {usernames: [jane]}\n"

    assert explain(TASK + "  changedBy: {username: jane}\n" + CLASS + policies).exit_code == 1


@pytest.mark.parametrize(
    ("job", "arguments", "code"),
    [
        pytest.param(JOB, (), 0, id="from a Job in the files"),
        pytest.param("", (), 1, id="from nowhere"),
        pytest.param(
            "",
            ("--pod-label", "app=triage", "--image", f"agent@sha256:{'a' * 64}"),
            0,
            id="from the command line",
        ),
        pytest.param(JOB, ("--image", "agent:latest"), 1, id="the command line's image wins"),
        pytest.param(JOB, ("--pod-label", "app=other"), 1, id="the command line's label wins"),
    ],
)
def test_labels_and_images_of_the_pod_come(
    explain: Any, job: str, arguments: tuple[str, ...], code: int
) -> None:
    agents = (
        f"{{podSelector: {{matchLabels: {{app: triage}}}}, imageDigests: ['sha256:{'a' * 64}']}}"
    )

    result = explain(TASK + CLASS + ALLOW + f"  agents: {agents}\n" + job, *arguments)

    assert result.exit_code == code


def test_a_class_for_some_namespaces_is_judged_by_the_namespace_in_the_files(explain: Any) -> None:
    selective = CLASS.replace("{}", "{matchLabels: {team: support}}")
    namespace = (
        "---\n{apiVersion: v1, kind: Namespace, metadata: {name: support, labels: LABELS}}\n"
    )

    assert explain(TASK + selective + ALLOW).exit_code == 1
    for labels, code in (("{team: support}", 0), ("{team: sales}", 1)):
        text = TASK + selective + ALLOW + namespace.replace("LABELS", labels)
        assert explain(text).exit_code == code


def test_every_namespace_has_the_label_of_its_name(explain: Any) -> None:
    selective = CLASS.replace("{}", "{matchLabels: {kubernetes.io/metadata.name: support}}")

    assert explain(TASK + selective + ALLOW).exit_code == 0


@pytest.mark.parametrize(("demanded", "code"), [("Immediate", 0), ("Expiry", 1)])
def test_a_policy_can_demand_how_soon_what_is_revoked_opens_nothing(
    explain: Any, demanded: str, code: int
) -> None:
    deny = """---
apiVersion: taskpass.dev/v1alpha1
kind: ClusterAgentPolicy
metadata: {name: revocable}
spec:
  effect: Deny
  validations:
  - {expression: class.revocation == 'WORD', message: only what can be taken back so}
""".replace("WORD", demanded)

    assert explain(TASK + CLASS + ALLOW + deny).exit_code == 1 - code
    assert explain(TASK + CLASS + ALLOW + deny.replace("==", "!=")).exit_code == code


def test_json_is_for_programs(explain: Any) -> None:
    result = explain(TASK + CLASS + ALLOW, "--json")

    (decision,) = json.loads(result.output)["decisions"]
    digest = decision.pop("policyDigest")
    assert digest.startswith("sha256:")
    assert decision == {
        "task": "support/ticket-4711",
        "phase": "",
        "request": "tickets",
        "class": "tickets",
        "allowed": True,
        "reason": "Allowed",
        "message": "AgentPolicy 'support/triage' allows it for 600 s",
        "policy": "AgentPolicy/support/triage",
        "lifetimeSeconds": 600,
        "nearest": "",
        "capabilities": {
            "revocation": "Immediate",
            "revocationSeconds": 0,
            "minimumSeconds": 600,
            "listable": True,
            "endsSessions": True,
            "fields": ["ca.crt", "kubeconfig", "namespace", "server", "token"],
            "deliveries": ["Secret"],
        },
    }


def test_what_is_shorter_than_a_kubernetes_token_is_denied(explain: Any) -> None:
    result = explain(TASK + CLASS + ALLOW.replace("600", "300"))

    assert result.exit_code == 1
    assert "must be greater than or equal to 600" in " ".join(result.output.split())


def test_a_list_is_read_as_its_items(explain: Any) -> None:
    items = [document.strip() for document in (TASK + CLASS + ALLOW).split("---")]
    text = "kind: List\napiVersion: v1\nitems:\n" + "".join(
        "- " + item.replace("\n", "\n  ") + "\n" for item in items
    )

    assert explain(text).exit_code == 0


def test_what_could_steer_the_terminal_is_not_printed(explain: Any) -> None:
    result = explain(
        TASK
        + CLASS
        + ALLOW
        + DENY.replace("the change", '"\\e[31mthe').replace("Monday", 'Monday"')
    )

    assert result.exit_code == 1
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "classRef: {name: tickets}",
            "classRef: {name: y}",
            "spec.credentials[0].classRef.name must be a string, not the boolean true (YAML reads "
            "y, yes, on, n, no and off as one); put it in quotes",
            id="a class named y",
        ),
        pytest.param(
            "[read]",
            "read",
            "spec.credentials[0].actions must be a list, not a string",
            id="no list",
        ),
        pytest.param(
            "[read]",
            "[1]",
            "spec.credentials[0].actions[0] must be a string, not a number; put it in quotes",
            id="a number",
        ),
        pytest.param(
            "Answer ticket 4711",
            "2026-01-01",
            "spec.intent.goal must be a string, not a date; put it in quotes",
            id="a date",
        ),
        pytest.param(
            "Answer ticket 4711",
            "1.5",
            "spec.intent.goal must be a string, not a number with a point; put it in quotes",
            id="a number with a point",
        ),
        pytest.param(
            "sponsor: support-platform",
            "sponsor:",
            "spec.sponsor must be set, and must not be empty",
            id="nothing",
        ),
        pytest.param("sponsor", "sponser", "spec.sponser is no field of this kind", id="a typo"),
        pytest.param(
            "agent: {serviceAccountName: triage-agent}",
            "agent: {}",
            "spec.agent.serviceAccountName must be set",
            id="a field that is missing",
        ),
    ],
)
def test_what_the_api_server_would_refuse_of_a_task(
    explain: Any, old: str, new: str, message: str
) -> None:
    result = explain(TASK.replace(old, new) + CLASS + ALLOW)

    assert refusal(result) == f", document 1 (AgentTask 'ticket-4711'): {message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "effect: Allow",
            "effect: Permit",
            "spec.effect must be Allow or Deny or Constrain, not 'Permit'",
            id="another effect",
        ),
        pytest.param(
            "  classes: [tickets]\n",
            "",
            "spec.classes must be set when effect is Allow: absent, it would allow nothing",
            id="an allow without classes",
        ),
        pytest.param(
            "namespace/*",
            "*/tickets",
            "spec.resources[0] must hold '*' as the last character only",
            id="a star in front",
        ),
        pytest.param("[read]", "[]", "spec.actions must not be empty", id="an empty selector"),
        pytest.param(
            "effect: Allow",
            "effect: Deny",
            "spec.limits must not be set when effect is Deny",
            id="a deny with limits",
        ),
        pytest.param(
            "600",
            "10m",
            "spec.limits.maxExpirationSeconds must be an integer, not a string",
            id="a duration",
        ),
    ],
)
def test_what_the_api_server_would_refuse_of_a_policy(
    explain: Any, old: str, new: str, message: str
) -> None:
    result = explain(TASK + CLASS + ALLOW.replace(old, new))

    assert refusal(result) == f", document 3 (AgentPolicy 'triage'): {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [", ", line 1: not valid YAML: ", id="YAML that ends early"),
        pytest.param("a: 1\na: 2", ", line 2: not valid YAML: the key 'a' comes twice", id="twice"),
        pytest.param(
            "- a", ", document 1: must be an object with apiVersion and kind", id="a list"
        ),
        pytest.param("kind: AgentTask", ", document 1: apiVersion must be set", id="no version"),
        pytest.param(
            "{apiVersion: taskpass.dev/v1alpha1, kind: AgentTusk}",
            ", document 1: there is no kind AgentTusk in taskpass.dev/v1alpha1; kinds of",
            id="a kind that is none",
        ),
        pytest.param(
            TASK.replace("v1alpha1", "v1"), ", document 1: there is no kind AgentTask in", id="v1"
        ),
        pytest.param(
            TASK.replace("name: ticket-4711, ", ""),
            ", document 1: metadata.name must be set",
            id="no name",
        ),
        pytest.param(b"\xff\xfe\x00", " cannot be read: it is not UTF-8 text", id="no text"),
        pytest.param("[" * 5000, ": not valid YAML", id="YAML five thousand lists deep"),
        pytest.param("!!python/object:os.system {}", ", line 1: not valid YAML", id="a program"),
        pytest.param("? [a]\n: b", ", line 1: not valid YAML", id="a key that is a list"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_in_one_line(
    explain: Any, text: str | bytes, message: str
) -> None:
    assert refusal(explain(text)).startswith(message)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(policy, ["explain", "-f", str(tmp_path / "task.yaml")])

    assert refusal(result) == " cannot be read: No such file or directory"


def test_files_without_a_task_are_said(explain: Any) -> None:
    result = explain(ALLOW)

    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == "There is no AgentTask in the files; add one with -f"


def test_a_label_without_a_value_is_said(explain: Any) -> None:
    result = explain(TASK + CLASS + ALLOW, "--pod-label", "app")

    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == "--pod-label must be KEY=VALUE, not 'app'"


def test_a_file_must_be_named() -> None:
    assert CliRunner().invoke(policy, ["explain"]).exit_code == 2
