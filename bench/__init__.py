"""Load on a real API server, and what of it is due to the operator: `make bench`.

The harness plays everybody else: who makes tasks, the kubelet, and the agent that tries its token.
The same calls without an operator are made in the same run, so that each figure has its floor.
"""
