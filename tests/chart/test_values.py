"""What each value changes, and which values are refused."""

import json
from typing import Any

import pytest
import yaml
from rendering import CHART, ENROLLED, NAMESPACE, HelmFailed, Object, of_kind, one, pod_spec, render

from taskpass.core.lifecycle.ownership import CONTROLLERS
from taskpass.runtime.settings import load


def test_the_defaults_install_an_operator_that_serves_nobody() -> None:
    kinds = sorted({o["kind"] for o in render()})

    assert kinds == [
        "AuditAnchor",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Deployment",
        "Job",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "Namespace",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Pod",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]
    assert not [
        o for o in of_kind(render(), "RoleBinding") if o["metadata"]["name"] == "taskpass-tenant"
    ]


def test_the_crds_are_those_of_the_repository_and_are_kept() -> None:
    for path in (CHART / "files/crds").glob("*.yaml"):
        written = yaml.safe_load(path.read_text())
        rendered = one(render(), "CustomResourceDefinition", written["metadata"]["name"])

        assert rendered["spec"] == written["spec"]
        assert rendered["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_crds_keep_can_be_switched_off() -> None:
    assert all(
        "annotations" not in o["metadata"]
        for o in of_kind(render({"crds": {"keep": False}}), "CustomResourceDefinition")
    )


def test_crds_can_be_left_out() -> None:
    assert of_kind(render({"crds": {"enabled": False}}), "CustomResourceDefinition") == []


def test_the_ledger_has_a_volume_of_its_own_that_is_kept() -> None:
    claim = one(
        render({"ledger": {"size": "5Gi", "storageClassName": "fast"}}),
        "PersistentVolumeClaim",
        "taskpass-ledger",
    )

    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "5Gi"}},
    }
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_volume_can_be_left_to_helm() -> None:
    assert (
        "annotations"
        not in one(render({"ledger": {"keep": False}}), "PersistentVolumeClaim", "taskpass-ledger")[
            "metadata"
        ]
    )


def test_an_existing_claim_is_used_instead() -> None:
    objects = render({"ledger": {"existingClaim": "mine"}})

    assert of_kind(objects, "PersistentVolumeClaim") == []
    assert pod_spec(objects)["volumes"][0]["persistentVolumeClaim"] == {"claimName": "mine"}


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "localhost/taskpass:0.1.0"),
        ({"repository": "example.com/taskpass", "tag": "2"}, "example.com/taskpass:2"),
        ({"tag": "2", "digest": "sha256:" + "a" * 64}, "localhost/taskpass@sha256:" + "a" * 64),
    ],
    ids=["the chart's version", "a tag", "a digest wins"],
)
def test_the_image(image: Object, reference: str) -> None:
    objects = render({"image": image})
    hook = one(objects, "Job", "taskpass-release")["spec"]["template"]["spec"]

    assert pod_spec(objects)["containers"][0]["image"] == reference
    assert hook["containers"][0]["image"] == reference


def test_pull_secrets_and_where_it_runs() -> None:
    spec = pod_spec(
        render(
            {
                "image": {"pullSecrets": ["pull"], "pullPolicy": "Never"},
                "priorityClassName": "system-cluster-critical",
                "nodeSelector": {"a": "b"},
                "tolerations": [{"operator": "Exists"}],
                "affinity": {"nodeAffinity": {"x": {}}},
                "resources": {"limits": {"memory": "1Gi"}, "requests": {}},
            }
        )
    )

    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert spec["containers"][0]["imagePullPolicy"] == "Never"
    assert spec["priorityClassName"] == "system-cluster-critical"
    assert spec["nodeSelector"] == {"a": "b"}
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["affinity"] == {"nodeAffinity": {"x": {}}}
    assert spec["containers"][0]["resources"]["limits"]["memory"] == "1Gi"


def test_labels_and_annotations_of_the_pod() -> None:
    template = one(
        render({"podLabels": {"team": "a"}, "podAnnotations": {"b": "c"}}), "Deployment", "taskpass"
    )["spec"]["template"]

    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["annotations"] == {"b": "c"}


def env(objects: list[Object]) -> dict[str, Any]:
    return {
        e["name"]: e.get("value", e.get("valueFrom"))
        for e in pod_spec(objects)["containers"][0]["env"]
    }


def test_the_settings_that_the_operator_gets() -> None:
    assert env(render(ENROLLED)) == {
        "TASKPASS_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "TASKPASS_TENANTS": '["sales","support"]',
        "TASKPASS_TARGETS": json.dumps(ENROLLED["targets"], sort_keys=True, separators=(",", ":")),
        "TASKPASS_CONTROLLERS": json.dumps(
            dict(CONTROLLERS), sort_keys=True, separators=(",", ":"), default=list
        ),
        "TASKPASS_MOUNT_PATH": "/var/run/taskpass",
        "TASKPASS_AUDIENCE": "taskpass",
        "TASKPASS_LEDGER_PATH": "/var/lib/taskpass/ledger.db",
        "TASKPASS_SIGNING_KEY_GENERATION": "1",
        "TASKPASS_TOKEN_AUDIENCES": "[]",
        "TASKPASS_HARMLESS_WRITES": "[]",
        "TASKPASS_LEDGER_TASK_BURST_KIB": "2048",
        "TASKPASS_LEDGER_TASK_KIB_PER_DAY": "4096",
        "TASKPASS_LEDGER_NAMESPACE_BURST_KIB": "262144",
        "TASKPASS_LEDGER_NAMESPACE_KIB_PER_DAY": "24576",
        "TASKPASS_RENEWAL_OVERLAP_SECONDS": "90",
        "TASKPASS_LOG_LEVEL": "info",
    }


def test_settings_that_are_off_by_default() -> None:
    settings = env(
        render({"clusterServer": "https://k:6443", "audience": "agents", "logLevel": "debug"})
    )

    assert settings["TASKPASS_CLUSTER_SERVER"] == "https://k:6443"
    assert settings["TASKPASS_AUDIENCE"] == "agents"
    assert settings["TASKPASS_LOG_LEVEL"] == "debug"


DATABASES = {
    "support": {
        "host": "db.support.svc", "user": "op", "secretName": "db-op",
        "databases": {"tickets": ["tickets_ro"]},
    },
    "sales": {
        "host": "10.0.0.7", "port": 6432, "user": "op", "database": "admin", "tls": "VerifyCA",
        "secretName": "sales-op", "authentication": "Certificate",
        "databases": {"orders": ["ro", "rw"]}, "standbys": ["10.0.0.8:6432", "[fd00::8]:5432"],
    },
}  # fmt: skip


def test_a_database_server_is_a_setting_that_names_the_files_of_its_secret() -> None:
    objects = render({"postgresql": {"servers": DATABASES}})

    files = "/etc/taskpass/postgresql"
    servers = json.loads(env(objects)["TASKPASS_POSTGRESQL_SERVERS"])
    assert servers == {
        "support": {
            "host": "db.support.svc", "user": "op", "databases": {"tickets": ["tickets_ro"]},
            "caFile": f"{files}/support/ca.crt", "passwordFile": f"{files}/support/password",
        },
        "sales": {
            "host": "10.0.0.7", "port": 6432, "user": "op", "database": "admin", "tls": "VerifyCA",
            "databases": {"orders": ["ro", "rw"]}, "caFile": f"{files}/sales/ca.crt",
            "standbys": ["10.0.0.8:6432", "[fd00::8]:5432"],
            "certificateFile": f"{files}/sales/tls.crt", "keyFile": f"{files}/sales/tls.key",
        },
    }  # fmt: skip
    given = {"TASKPASS_NAMESPACE": "a", "TASKPASS_POSTGRESQL_SERVERS": json.dumps(servers)}
    read = load({}, given).postgresql_servers["sales"]
    assert (read.port, read.standby("[fd00::8]:5432").host) == (6432, "fd00::8")
    spec = one(objects, "Deployment", "taskpass")["spec"]["template"]["spec"]
    [container] = spec["containers"]
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    secrets = {v["name"]: v["secret"] for v in spec["volumes"] if "secret" in v}
    for name, server in DATABASES.items():
        assert mounts[f"postgresql-{name}"] == {
            "name": f"postgresql-{name}", "mountPath": f"{files}/{name}", "readOnly": True,
        }  # fmt: skip
        assert secrets[f"postgresql-{name}"] == {
            "secretName": server["secretName"], "defaultMode": 0o440, "optional": True,
        }  # fmt: skip


def test_a_server_is_declared_gone_with_a_reason_and_only_once_it_is_off_the_list() -> None:
    retired = {"old": 'INC-4711: "disks" lost'}
    objects = render({"postgresql": {"servers": DATABASES, "retired": retired}})

    assert json.loads(env(objects)["TASKPASS_POSTGRESQL_RETIRED"]) == retired
    assert "TASKPASS_POSTGRESQL_RETIRED" not in env(render({}))
    both = {"postgresql": {"servers": DATABASES, "retired": {"sales": "gone"}}}
    with pytest.raises(HelmFailed, match="server 'sales' is listed in"):
        render(both)


def test_audience_and_mount_path_reach_the_policies() -> None:
    objects = render({"audience": "agents", "mountPath": "/credentials"})

    injected = str(one(objects, "MutatingAdmissionPolicy", "taskpass-inject"))
    assert 'dyn("agents")' in injected
    assert 'dyn("/credentials")' in injected
    for name in ("taskpass-pods", "taskpass-identity-tokens"):
        assert "agents" in str(one(objects, "ValidatingAdmissionPolicy", name))


def test_the_release_hook_can_be_switched_off() -> None:
    objects = render({"releaseHook": {"enabled": False}})

    assert of_kind(objects, "Job") == []
    assert [o for o in objects if o["metadata"]["name"] == "taskpass-release"] == []


def test_these_are_hooks_and_nothing_else() -> None:
    hooks = [o for o in render() if "helm.sh/hook" in o["metadata"].get("annotations", {})]

    found = {(o["kind"], o["metadata"]["annotations"]["helm.sh/hook"]) for o in hooks}
    assert found == {
        ("AuditAnchor", "post-install,post-upgrade"),
        ("Job", "pre-delete"),
        ("Pod", "test"),
    }
    assert of_kind(render(hooks=False), "Job", "Pod") == []


def test_the_logs_memory_is_never_deleted_to_be_made_anew() -> None:
    anchor = one(render(), "AuditAnchor", "taskpass")

    assert anchor["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "hook-failed"
    assert "status" not in anchor
    assert "spec" not in anchor


def test_the_release_job_asks_the_operator_and_gives_up_in_time() -> None:
    job = one(render({"releaseHook": {"timeoutSeconds": 60}}), "Job", "taskpass-release")["spec"]

    assert job["activeDeadlineSeconds"] == 60
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] == 1
    assert job["template"]["spec"]["containers"][0]["args"] == [
        "release",
        "--via-operator",
        "--within",
        "50",
    ]


def test_the_operator_runs_once_and_is_gone_before_another_starts() -> None:
    deployment = one(render(), "Deployment", "taskpass")["spec"]

    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    assert deployment["template"]["spec"]["containers"][0]["args"] == ["operator"]


@pytest.mark.parametrize("kind_name", [("Deployment", "taskpass"), ("Job", "taskpass-release")])
def test_every_pod_is_confined(kind_name: tuple[str, str]) -> None:
    spec = one(render(), *kind_name)["spec"]["template"]["spec"]

    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["fsGroup"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"]


def test_probes_and_metrics_are_on_the_port_named_http() -> None:
    container = pod_spec(render())["containers"][0]

    assert container["ports"] == [{"name": "http", "containerPort": 9090}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert one(render(), "Service", "taskpass")["spec"]["ports"] == [
        {"name": "http", "port": 9090, "targetPort": "http"}
    ]


def test_the_service_finds_the_operator_and_not_the_release_job() -> None:
    selector = one(render(), "Service", "taskpass")["spec"]["selector"]
    operator = one(render(), "Deployment", "taskpass")["spec"]["template"]["metadata"]["labels"]
    release = one(render(), "Job", "taskpass-release")["spec"]["template"]["metadata"]["labels"]

    assert selector.items() <= operator.items()
    assert not selector.items() <= release.items()


def test_the_namespace_of_grants_is_kept() -> None:
    namespace = one(render(), "Namespace", "taskpass-grants")["metadata"]

    assert namespace["annotations"]["helm.sh/resource-policy"] == "keep"
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_object_says_its_namespace_and_carries_our_labels() -> None:
    cluster_wide = {
        "AuditAnchor", "Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding",
    }  # fmt: skip

    for o in render(ENROLLED):
        scoped = o["kind"] not in cluster_wide and "Admission" not in o["kind"]
        assert scoped == ("namespace" in o["metadata"]), o["metadata"]["name"]
        assert o["metadata"]["labels"]["app.kubernetes.io/part-of"] == "taskpass"


def test_the_operator_can_be_kept_off_nodes_of_tenants() -> None:
    mine = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"a": "b"}]}}
    apart = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {},
        "namespaces": ["sales", "support"],
    }
    kept = pod_spec(render({**ENROLLED, "keepOffTenantNodes": True, "affinity": mine}))

    assert kept["affinity"] == {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"a": "b"}, apart],
        }
    }
    assert "affinity" not in pod_spec(render({"keepOffTenantNodes": True}))
    assert "affinity" not in pod_spec(render(ENROLLED))


def test_every_value_is_documented() -> None:
    text = (CHART / "values.yaml").read_text()

    def paths(values: Object, prefix: str = "") -> list[str]:
        found = []
        for name, value in values.items():
            leaf = not isinstance(value, dict) or not value or name == "resources"
            found += [prefix + name] if leaf else paths(value, f"{prefix}{name}.")
        return found

    for path in paths(yaml.safe_load(text)):
        assert any(line.lstrip().startswith("#") and path in line for line in text.splitlines()), (
            path
        )


def test_the_controllers_that_are_set_are_the_operators_and_admissions() -> None:
    objects = render({**ENROLLED, "controllers": {"StatefulSet": ["system:one"], "JobSet": []}})

    given = json.loads(env(objects)["TASKPASS_CONTROLLERS"])
    revisions = one(objects, "ValidatingAdmissionPolicy", "taskpass-revisions")["spec"]
    assert (given["StatefulSet"], given["JobSet"]) == (["system:one"], [])
    assert given["Job"] == list(CONTROLLERS["Job"])
    assert '["system:one",' in revisions["validations"][0]["expression"]


REFUSED: dict[str, tuple[Object, str]] = {
    "a controller of no kind": ({"controllers": {"Robot": ["a"]}}, "Robot"),
    "a controller without a name": ({"controllers": {"Job": [""]}}, "controllers"),
    "a typo": ({"tenant": {}}, "tenant"),
    "a typo in a section": ({"image": {"repositry": "x"}}, "repositry"),
    "a list of tenants": ({"tenants": ["support"]}, "tenants"),
    "a setting of a tenant": ({"tenants": {"support": {"x": 1}}}, "support"),
    "kube-system as tenant": ({"tenants": {"kube-system": {}}}, "kube-system|propert"),
    "the namespace of grants as tenant": (
        {"tenants": {"taskpass-grants": {}}},
        "taskpass-grants|propert",
    ),
    "kube-system as target": ({"targets": {"kube-system": {}}}, "kube-system|propert"),
    "cluster-admin as role": (
        {"targets": {"tickets": {"clusterRoles": ["cluster-admin"]}}},
        "clusterRoles",
    ),
    "a typo in a target": ({"targets": {"tickets": {"clusterroles": []}}}, "clusterroles"),
    "the operator's own namespace as tenant": (
        {"tenants": {NAMESPACE: {}}},
        "its signing key is there",
    ),
    "the operator's own namespace as target": (
        {"targets": {NAMESPACE: {}}},
        "its signing key is there",
    ),
    "a digest that is none": ({"image": {"digest": "abc"}}, "digest"),
    "a log level of its own": ({"logLevel": "verbose"}, "logLevel"),
    "an audience that breaks out of CEL": ({"audience": "a' || true || '"}, "audience"),
    "a mount path that breaks out of CEL": ({"mountPath": '/a"'}, "mountPath"),
    "a server without encryption": ({"clusterServer": "http://k"}, "clusterServer"),
    "a pull secret with a task's name": (
        {"image": {"pullSecrets": ["taskpass-pull"]}},
        "pullSecrets",
    ),
    "the ServiceAccount default": ({"serviceAccount": {"name": "default"}}, "name"),
    "an address of runbooks that is none": ({"alerts": {"runbooks": "a b"}}, "runbooks"),
    "a label of ours on the alerts": (
        {"alerts": {"labels": {"app.kubernetes.io/name": "x"}}},
        "invalid propertyName",
    ),
    "a token that lives longer than the schema lets a request ask": (
        {"maxTokenSeconds": 86401},
        "maxTokenSeconds",
    ),
    "a token that no API server issues": ({"maxTokenSeconds": 599}, "maxTokenSeconds"),
    "an audience of tokens that breaks out of CEL": (
        {"tokenAudiences": ["a' || true || '"]},
        "tokenAudiences",
    ),
    "a user that breaks out of CEL": (
        {"podTokenRequesters": ["a' || true || '"]},
        "podTokenRequesters",
    ),
    "a database server whose Secret is one of ours": (
        {"postgresql": {"servers": {"a": {**DATABASES["support"], "secretName": "taskpass-x"}}}},
        "secretName",
    ),
    "a database server without a group role": (
        {"postgresql": {"servers": {"a": {**DATABASES["support"], "databases": {"tickets": []}}}}},
        "databases",
    ),
    "a database server whose name is no path": (
        {"postgresql": {"servers": {"../a": DATABASES["support"]}}},
        "invalid propertyName",
    ),
    "a server that is declared gone without a reason": (
        {"postgresql": {"retired": {"old": ""}}},
        "retired",
    ),
    "a standby without a port": (
        {"postgresql": {"servers": {"a": {**DATABASES["support"], "standbys": ["db-2"]}}}},
        "standbys",
    ),
    "a database server without TLS": (
        {"postgresql": {"servers": {"a": {**DATABASES["support"], "tls": "Disable"}}}},
        "tls",
    ),
    "nobody who deletes for Kubernetes": ({"deletionControllers": []}, "deletionControllers"),
    "every resource as harmless": ({"harmlessWrites": ["*"]}, "harmlessWrites"),
    "a label of ours on the operator": (
        {"podLabels": {"taskpass.dev/task": "x"}},
        "invalid propertyName .taskpass.dev/task",
    ),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_values_must_not_be(values: Object, message: str) -> None:
    with pytest.raises(HelmFailed, match=message):
        render(values)


def test_an_older_kubernetes_is_refused() -> None:
    with pytest.raises(HelmFailed, match=r"incompatible with Kubernetes v1.35.9"):
        render(kube_version="1.35.9")
