"""When has the API server taken in what was written? A policy that is written last says it."""

import time

from e2e.impersonate import Api, Object, Refused, thing

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
NAME = "mutations-canary"
LONGEST = 60.0


class Canary:
    """One policy of each kind on ConfigMaps of one name, whose message is a number."""

    def __init__(self, admin: Api) -> None:
        self._admin = admin
        self._number = 0
        self._written = False

    def wait(self) -> None:
        """Return once all that was written before this call is in force."""
        self._number += 1
        self._write("validatingadmissionpolicies", self._validating())
        self._write("mutatingadmissionpolicies", self._mutating())
        if not self._written:
            for kind, plural in (("Validating", "validating"), ("Mutating", "mutating")):
                self._write(f"{plural}admissionpolicybindings", _binding(kind))
            self._written = True
        end = time.monotonic() + LONGEST
        while not self._seen():
            assert time.monotonic() < end, f"the canary is not in force after {LONGEST} s"
            time.sleep(0.02)

    def _seen(self) -> bool:
        body = thing("v1", "ConfigMap", "default", NAME)
        try:
            self._admin.create(body, dryRun="All")
        except Refused as refused:
            return f"validating {self._number}." in refused.message and (
                f"mutating {self._number}." in refused.message
            )
        return False

    def _write(self, plural: str, body: Object) -> None:
        path = f"{ADMISSION}/{plural}/{NAME}"
        self._admin.call("PATCH", path, body, content="application/apply-patch+yaml",
                         fieldManager="mutations", force="true")  # fmt: skip

    def _validating(self) -> Object:
        mutated = "object.metadata.?annotations[?'canary'].orValue('')"
        message = f"'validating {self._number}. mutating ' + {mutated} + '.'"
        return _policy(
            "Validating", validations=[{"expression": "false", "messageExpression": message}]
        )

    def _mutating(self) -> Object:
        expression = (
            f'Object{{metadata: Object.metadata{{annotations: {{"canary": "{self._number}"}}}}}}'
        )
        mutation = {
            "patchType": "ApplyConfiguration",
            "applyConfiguration": {"expression": expression},
        }
        return _policy("Mutating", mutations=[mutation], reinvocationPolicy="Never")


def _policy(kind: str, **spec: object) -> Object:
    rule = {
        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
        "operations": ["CREATE"], "resourceNames": [NAME],
    }  # fmt: skip
    whole = {"matchConstraints": {"resourceRules": [rule]}, "failurePolicy": "Fail", **spec}
    return thing("admissionregistration.k8s.io/v1", f"{kind}AdmissionPolicy", "", NAME, spec=whole)


def _binding(kind: str) -> Object:
    spec: Object = {"policyName": NAME}
    if kind == "Validating":
        spec["validationActions"] = ["Deny"]
    return thing(
        "admissionregistration.k8s.io/v1", f"{kind}AdmissionPolicyBinding", "", NAME, spec=spec
    )
