"""The command: `python -m e2e.cluster up|down|status|kubectl|tools`."""

import argparse
import os
import sys

from e2e.cluster import interface, places, tools, traces
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.say import say


def main(arguments: list[str]) -> int:
    """Return the exit code: 0 done, 1 failed or (status) not running."""
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "list", "kubectl", "tools"])
    parser.add_argument("--name", default=None, help="default: one that is this tree's own")
    parser.add_argument("--no-node", action="store_true", help="the control plane alone")
    parser.add_argument("--tree", action="store_true", help="down: every cluster of this tree")
    known, rest = parser.parse_known_args(arguments)
    try:
        if known.command == "down" and known.tree:
            return _down_all()
        return run(known.command, known.name, node=not known.no_node, rest=rest)
    except ClusterFailed as error:
        say(str(error))
        return 1


def _down_all() -> int:
    own = places.default_name()
    for name in interface.running():
        if name == own or name.startswith(f"{own}-"):
            run("down", name, node=True, rest=[])
    return 0


def run(command: str, name: str | None, *, node: bool, rest: list[str]) -> int:
    """Do one command; results go to standard output, progress to standard error."""
    name = places.checked(name or places.default_name())
    if command == "up":
        cluster = interface.ensure(name, node=node)
        say(f"{name} runs ({cluster.way}); stop it with: make cluster-down NAME={name}")
        print(f"export KUBECONFIG={cluster.kubeconfig}")
    elif command == "down":
        say(f"{name} is gone" if interface.remove(name) else f"nothing of {name} was there")
    elif command == "list":
        print("\n".join(interface.running()))
    elif command == "kubectl":
        path = places.clusters() / name / "kubeconfig"
        program = str(interface.kubectl())
        os.execv(program, [program, "--kubeconfig", str(path), *rest])
    elif command == "tools":
        print(tools.helm())
    else:
        found = traces.left_of(places.clusters() / name)
        print("\n".join(f"{what}: {' '.join(each)}" for what, each in found.items()))
        return 0 if found else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
