"""Python's garbage collector, set for a process that holds many objects for long."""

import gc

THRESHOLDS = (100_000, 20, 100)


def settle() -> None:
    """Leave out of later collections what is here now; call it once the caches are filled.

    Otherwise every collection goes through all that is cached, and holds everything up meanwhile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
