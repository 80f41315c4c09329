"""The command: `python -m e2e.demo [--name NAME] [--life | --databases]`.

Exit code 1 says that it ended early.
"""

import argparse
import signal
import sys

from e2e.cluster import ClusterFailed
from e2e.demo import databases, life, story
from e2e.demo.stage import Stage
from e2e.demo.telling import DidNotComeOut, Telling
from e2e.impersonate import Refused


def main(arguments: list[str]) -> int:
    """Tell the story; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    parser.add_argument("--name", default=None, help="the cluster's name; default: this tree's own")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--life", action="store_true", help="the long life of one task instead")
    other.add_argument("--databases", action="store_true", help="a role in a database instead")
    chosen = parser.parse_args(arguments)
    for which in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(
            which, lambda number, _: sys.exit(128 + number)
        )  # in order: what is held ends
    telling = Telling()
    try:
        told = databases if chosen.databases else life if chosen.life else story
        told.tell(Stage(chosen.name), telling)
    except (DidNotComeOut, ClusterFailed, Refused) as failure:
        telling.failed(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
