"""kopf, imported without the client library, which it would load for objects of its classes.

Nobody hands it such objects, and a class for each kind of Kubernetes takes 16 MiB of the operator's
memory and a tenth of a second of each start. Whoever needs the library (a kubeconfig) can import it
afterwards.
"""

import sys

_CLIENT = "kubernetes.client"
_absent = _CLIENT not in sys.modules
if _absent:
    sys.modules[_CLIENT] = None  # type: ignore[assignment] # importing it raises ImportError then
import kopf as kopf  # noqa: E402 (the line before is for this one)

if _absent:
    del sys.modules[_CLIENT]
