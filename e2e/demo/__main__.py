"""The command: `python -m e2e.demo [--name NAME]`. Exit code 1: a step did not come out."""

import argparse
import sys

from e2e.cluster import ClusterFailed
from e2e.demo.stage import Stage
from e2e.demo.story import tell
from e2e.demo.telling import DidNotComeOut, Telling
from e2e.impersonate import Refused


def main(arguments: list[str]) -> int:
    """Tell the story; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    parser.add_argument("--name", default=None, help="the cluster's name; default: this tree's own")
    name = parser.parse_args(arguments).name
    telling = Telling()
    try:
        tell(Stage(name), telling)
    except (DidNotComeOut, ClusterFailed, Refused) as failure:
        telling.failed(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
