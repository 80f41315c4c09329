"""The command: `python -m e2e.demo [--name NAME] [--life]`; exit code 1 says: it ended early."""

import argparse
import sys

from e2e.cluster import ClusterFailed
from e2e.demo import life, story
from e2e.demo.stage import Stage
from e2e.demo.telling import DidNotComeOut, Telling
from e2e.impersonate import Refused


def main(arguments: list[str]) -> int:
    """Tell the story; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    parser.add_argument("--name", default=None, help="the cluster's name; default: this tree's own")
    parser.add_argument("--life", action="store_true", help="the long life of one task instead")
    chosen = parser.parse_args(arguments)
    telling = Telling()
    try:
        (life if chosen.life else story).tell(Stage(chosen.name), telling)
    except (DidNotComeOut, ClusterFailed, Refused) as failure:
        telling.failed(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
