"""A cluster for the demo, the tests and the benchmarks: `ensure(...)`, or `python -m e2e.cluster`.

Three ways lead to one, behind the same interface: a context named on request, kind where an engine
answers, else Kubernetes built from its own Go modules. README.md in e2e/ tells how.
"""

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.interface import Cluster, ensure, remove

__all__ = ["Cluster", "ClusterFailed", "ensure", "remove"]
