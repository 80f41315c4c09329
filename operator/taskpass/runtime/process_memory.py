"""Keep the process's memory, where secrets are, out of files and out of other processes' reach."""

import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4


def keep_private() -> None:
    """Have no core file written, whatever happens, and no process of the same user look inside.

    A crash reporter that is fed through a pipe does not heed the limit, so the flag is set as well.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
