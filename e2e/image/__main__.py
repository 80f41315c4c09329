"""The command: builds what changed, and prints where the archive is."""

import sys

from e2e.cluster import ClusterFailed
from e2e.cluster.say import say
from e2e.image.build import build

try:
    print(build())
except ClusterFailed as error:
    say(str(error))
    sys.exit(1)
