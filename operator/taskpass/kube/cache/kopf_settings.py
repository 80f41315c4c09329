"""What of kopf is switched off, or set otherwise than it is by itself, and why (ADR 3).

kopf watches our kinds and hands each event on; it decides, stores and writes nothing.
"""

from typing import Any

from taskpass.kube.cache.kopf_alone import kopf

PAGE = 20
"""Objects on a page of kopf's lists: at most 1.5 MB each."""
WATCH_SECONDS = 290
"""After which the server ends a watch: kopf would let it be open for as long as it likes."""


class NoDiff(kopf.DiffBaseStorage):
    """We have no change handlers, so no last state is kept."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """Return nothing to compare."""
        return {}

    def fetch(self, *, body: Any) -> Any:
        """Return {} and not None, so that nothing looks new."""
        return {}

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Write nothing."""


class NoProgress(kopf.ProgressStorage):
    """Handlers here have no progress."""

    def fetch(self, *, key: Any, body: Any) -> Any:
        """Return none."""
        return None

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        """Write nothing."""

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        """Write nothing."""

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        """Write nothing."""

    def clear(self, *, essence: Any) -> Any:
        """Return it as it is."""
        return essence


def operator_settings(idle_seconds: float) -> kopf.OperatorSettings:
    """Return kopf's settings for what we use of it; a watch may be silent for `idle_seconds`."""
    settings = kopf.OperatorSettings()
    # Off. The CRDs are the chart's, and namespaces are not what it watches: nothing is scanned for.
    settings.scanning.disabled = True
    # Off. Events tell of what is in the audit log, and `kube/writers/events.py` posts them.
    settings.posting.enabled = False
    settings.posting.loggers = False
    # Off. One operator works, and the Lease says which; peerings are objects that others can write.
    settings.peering.standalone = True
    # Off. The ledger remembers; annotations of an object are its owner's to write.
    settings.persistence.diffbase_storage = NoDiff()
    settings.persistence.progress_storage = NoProgress()
    # Never set, as no handler needs it: admission sets our own finalizer, and we remove it.
    settings.persistence.finalizer = "kopf.taskpass.dev/unused"
    # Off. Where its end hangs it would send the process SIGKILL; `Watcher` gives it up instead.
    settings.process.ultimate_exiting_timeout = None
    # Less. It keeps the last object of each worker for as long as that waits for another.
    settings.queueing.idle_timeout = 1
    settings.queueing.exit_timeout = 20
    # Less. What it retries by itself it tells nobody: it ends soon, and is begun anew by us.
    settings.networking.error_backoffs = (0.5, 1.0, 2.0)
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    # Bounded. A page and a watch are as long as we say; one that is silent counts as broken.
    settings.watching.chunk_size = PAGE
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.inactivity_timeout = idle_seconds
    return settings
