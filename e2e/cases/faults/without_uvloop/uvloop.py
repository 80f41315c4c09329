"""Stands in uvloop's place on PYTHONPATH, so that the operator takes asyncio's own loop.

libfaketime holds a lock in every timed wait of a thread, and uvloop starts processes by a fork in
which Python still has work to do: it then waits for that lock for ever. asyncio's loop starts them
by vfork, where there is nothing to wait for.
"""

raise ImportError("not under libfaketime")
