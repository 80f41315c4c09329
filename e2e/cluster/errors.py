"""The one error that a caller of this package sees."""


class ClusterFailed(Exception):
    """No cluster, or it does not do as told; the text says what happened and what can be done."""
