"""`taskpass audit`: check the audit log, and read it. One module for each command."""

import click

from taskpass.cli.audit.copy import copy
from taskpass.cli.audit.export import export
from taskpass.cli.audit.keys import keys
from taskpass.cli.audit.look import find, show, tail
from taskpass.cli.audit.memory import anchor, re_origin
from taskpass.cli.audit.people import erase, who
from taskpass.cli.audit.prove import prove, verify_proof
from taskpass.cli.audit.prune import prune
from taskpass.cli.audit.stats import open_ops, stats
from taskpass.cli.audit.timeline import timeline
from taskpass.cli.audit.verify import verify
from taskpass.cli.audit.whois import whois_token
from taskpass.cli.audit.witness import witness
from taskpass.cli.exits import Commands

COMMANDS = (
    verify, prove, verify_proof, export, copy, timeline, show, find, tail, stats, open_ops,
    whois_token, keys, prune, anchor, re_origin, witness, who, erase,
)  # fmt: skip


@click.group(cls=Commands)
def audit() -> None:
    """Check the audit log, and read it."""


for command in COMMANDS:
    audit.add_command(command)
