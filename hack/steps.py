"""Run make targets one after the other, and say how long each took: `python3 hack/steps.py A B …`.

Ends with the first that fails. Needs nothing but Python's standard library.
"""

import subprocess
import sys
import time


def main(targets: list[str]) -> int:
    """Return the exit code of the first target that fails, 0 if none does."""
    took: list[tuple[str, float]] = []
    code = 0
    for target in targets:
        print(f"\n== make {target}", flush=True)
        began = time.monotonic()
        code = subprocess.run(["make", "--no-print-directory", target], check=False).returncode
        took.append((target, time.monotonic() - began))
        if code:
            break
    print("\n== times")
    for target, seconds in took:
        print(f"{seconds:8.1f} s  {target}")
    print(f"{sum(seconds for _, seconds in took):8.1f} s  together")
    print("== " + (f"FAILED: make {took[-1][0]}" if code else "all passed"), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
