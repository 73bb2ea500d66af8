"""`syncctl ping` and `shutdown`: verbs about the daemon itself; neither starts one."""

from __future__ import annotations

from argparse import Namespace

from syncd_client import errors
from syncd_client.cli.console import Console
from syncd_client.wire.messages import Ping, Shutdown, Welcome


def ping(args: Namespace, console: Console) -> int:
    """Ask whether the daemon is alive."""
    welcome: Welcome = console.call(Ping(), autostart=False)
    console.answer(f"syncd {welcome.version} is alive: pid {welcome.pid}, node {welcome.node}, {welcome.remote}")
    console.give(welcome)
    return errors.OK


def shutdown(args: Namespace, console: Console) -> int:
    """Stop the daemon."""
    console.call(Shutdown(), autostart=False)
    console.say("the daemon stops; open jobs go on at its next start")
    console.give({"stopping": True})
    return errors.OK
