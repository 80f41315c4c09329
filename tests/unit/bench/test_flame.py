"""Where CPU goes, as a picture."""

from xml.etree import ElementTree

from bench.flame import svg, tree

STACKS = [
    "thread (7): MainThread;main (cli.py:1);Runner.run (runners.py:118);work (taskpass/a.py:3) 6\n",
    "thread (7): MainThread;main (cli.py:1);Runner.run (runners.py:118);"
    "work (taskpass/a.py:9);<lambda> (json.py:2) 2\n",
    "thread (9): ledger;Thread.run (threading.py:982);wait (threading.py:320) 90\n",
    "thread (9): ledger;SqliteLedger._run (taskpass/sqlite.py:270) 2\n",
]


def test_one_function_is_one_frame_whatever_line_it_was_at_and_who_waits_is_left_out():
    root = tree(STACKS)
    assert root.count == 10
    assert {name: each.count for name, each in root.calls.items()} == {"MainThread": 8, "ledger": 2}
    work = root.calls["MainThread"].calls
    assert {name: each.count for name, each in work.items()} == {"work (taskpass/a.py)": 8}
    assert work["work (taskpass/a.py)"].calls["<lambda> (json.py)"].count == 2


def test_the_picture_says_each_frames_share_and_is_as_wide():
    picture = ElementTree.fromstring(svg(tree(STACKS), "a & b"))
    space = {"s": "http://www.w3.org/2000/svg"}
    boxes = {
        box.findtext("s:title", namespaces=space): float(box.find("s:rect", space).get("width"))
        for box in picture.iterfind("s:g", space)
    }
    assert boxes == {
        "MainThread 80.0%": 959.6, "work (taskpass/a.py) 80.0%": 959.6,
        "<lambda> (json.py) 20.0%": 239.6, "ledger 20.0%": 239.6,
    }  # fmt: skip
    assert picture.findtext("s:text", namespaces=space) == "a & b"
