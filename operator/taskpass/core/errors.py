"""What can go wrong, in the words of the field.

A caller chooses by class what to do, never by message: retry, report, or stop. Messages are
shown to task owners (conditions, Events, one line on a terminal), so they say what happened and
what to do, and never hold a secret, a token, a URL's query, or text that a provider sent back.
"""


class TaskpassError(Exception):
    """Base of every error that this project raises on purpose."""


class TransientError(TaskpassError):
    """The same call may succeed later; the work queue retries it with back-off and shows it."""


class MustEnd(TaskpassError):
    """The process must end: whatever it did from here on could be wrong. A new one starts well."""


class LeaseLost(MustEnd):
    """Another operator writes in this cluster."""


class ApiError(TaskpassError):
    """The Kubernetes API server answered with an error status that is not one of those below."""


class ApiUnavailable(TransientError, ApiError):
    """No answer, a time-out, 429 or 5xx. The call may or may not have taken effect."""


class KindNotServed(ApiUnavailable):
    """404 by an API server that knows no such kind now: of an object of it nothing is known."""


class Unauthenticated(ApiUnavailable):
    """401: our token is not accepted. It is read anew within a minute, so a retry may help."""


class NotFound(ApiError):
    """404."""

    named = False
    """Whether it is the object that is not there; otherwise the API server serves no such kind."""


class Conflict(ApiError):
    """409: it exists already, or a precondition (UID, resourceVersion) does not hold."""


class Gone(ApiError):
    """410: the resourceVersion to watch from is too old; list again."""


class Forbidden(ApiError):
    """403, from RBAC or from an admission policy (whose message it carries)."""


class AdmissionDenied(Forbidden):
    """403 from one of the cluster's ValidatingAdmissionPolicies; RBAC had nothing against it."""

    policy = ""
    """Name of the policy."""


class Invalid(ApiError):
    """400 or 422: the object is refused as it is (by the schema, or a JSON patch's `test`)."""


class ProviderUnavailable(TransientError):
    """The credential's issuer did not answer, or answered 429 or 5xx."""


class DeclaredGone(TaskpassError):
    """An administrator's settings say that what issued a credential will never come back.

    Nothing is proven by it. The text is theirs: why.
    """


class GivenUp(ProviderUnavailable):
    """We did not wait for the answer any longer."""


class WitnessUnavailable(TransientError):
    """A witness did not answer, or not as the protocol has it."""


class ProviderRefused(TaskpassError):
    """The issuer understood and said no; retrying the same request cannot help."""


class EvaluationFailed(TransientError):
    """Policy could not be evaluated. Never a yes and never a no."""


class AttestationFailed(TaskpassError):
    """The evidence does not show what the task claims."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """A reason of the condition `Attested` (docs/api/agenttask.md)."""


class SecretNameTaken(TaskpassError):
    """A Secret of the name that delivery needs exists, and is not this task's."""


class LedgerError(MustEnd):
    """The ledger could not make an entry durable.

    The process ends: nothing is retried on a file that may be broken, and the next start recovers
    from what was committed.
    """


class LedgerLocked(LedgerError):
    """Another process holds the ledger."""


class LedgerUnwritable(LedgerError):
    """The volume takes no writes: it is full, read-only, or fails. What is there may be read."""


class LedgerReadOnly(TransientError):
    """The ledger can be read and not written, so nothing is begun; only what ends is taken in."""


class NotTheLog(TaskpassError):
    """What lies in the place of the log cannot be read, or is not what its key has signed."""


class StillRead(TaskpassError):
    """Something is deleted, and its bytes are there while somebody reads an earlier state."""

    def __init__(self, index: int, readers: str) -> None:
        """`index` is of the entry that tells of the deletion; -1 where there was nothing."""
        done = (
            f"It is deleted, as entry {index} says, but" if index >= 0 else "It is not known, but"
        )
        super().__init__(
            f"{done} bytes of earlier states stay in the ledger's write-ahead log while {readers} "
            "reads one. End that; the operator goes on trying, and running this again tells when "
            "nothing is left"
        )
        self.index = index
        self.readers = readers


class PodAlreadyBound(TaskpassError):
    """The pod was bound to another task UID before; nothing of the batch is written."""


class EntryRefused(TaskpassError):
    """An entry is too long, breaks the log's rules, or its id tells of something else already.

    Nothing of the batch is written; the same batch will be refused again. The ledger goes on.
    """


class UsageError(TaskpassError):
    """What the person typed, or an environment variable, cannot be used. One line, exit code 2."""


class SigningKeyUnusable(UsageError):
    """What should hold a signing key is there, and cannot be read, or holds something else."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy
        """What to do; empty where that depends on who asks."""
