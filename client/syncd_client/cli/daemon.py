"""`syncctl ping` and `shutdown`: verbs about the daemon itself; neither starts one."""

from __future__ import annotations

import os
import time
from argparse import Namespace

from syncd_client import errors
from syncd_client.cli.console import Console
from syncd_client.wire.messages import Ping, Shutdown, Welcome

PATIENCE = 10.0
"""Seconds a daemon that went away before it answered may take to end."""


def ping(args: Namespace, console: Console) -> int:
    """Ask whether the daemon is alive."""
    welcome: Welcome = console.call(Ping(), autostart=False)
    console.answer(f"syncd {welcome.version} is alive: pid {welcome.pid}, node {welcome.node}, {welcome.remote}")
    console.give(welcome)
    return errors.OK


def shutdown(args: Namespace, console: Console) -> int:
    """Stop the daemon. Where none runs there is nothing to do: what was asked for is so."""
    try:
        console.call(Shutdown(), autostart=False)
    except errors.DaemonGone:  # it went faster than its answer
        if not _ended(console.daemon_pid()):
            raise
    except errors.DaemonUnavailable as error:
        if not _nobody_listens(error):
            raise
        console.say(f"nothing to stop: {error.what}")
        console.give({"stopping": False})
        return errors.OK
    console.say("the daemon stops; open jobs go on at its next start")
    console.give({"stopping": True})
    return errors.OK


def _nobody_listens(error: errors.DaemonUnavailable) -> bool:
    return isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError)


def _ended(pid: int | None) -> bool:
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + PATIENCE
    while pid is not None and time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        time.sleep(0.02)
    return False
