"""The story of taskpass on a real cluster: `make demo`.

`telling` prints, `stage` is the cluster with what stands on it, `story` is what happens. Whatever
is shown is what came back; a step that does not come out ends the demo.
"""
