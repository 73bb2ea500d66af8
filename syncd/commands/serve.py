"""`syncd serve`: be the daemon, in the foreground."""

from __future__ import annotations

import os

import click

from syncd.commands.flags import as_flags, setting_flags
from syncd.commands.say import manners
from syncd.settings import load

SYSTEMDS = (
    "STATE_DIRECTORY", "CACHE_DIRECTORY", "RUNTIME_DIRECTORY", "CONFIGURATION_DIRECTORY", "LOGS_DIRECTORY",
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
)  # fmt: skip
"""What systemd told the service a client belongs to. A daemon that client starts is another process with other places:
it would keep its journal in the trainer's directory and report its own readiness in the trainer's name."""


@click.command(short_help="Run the daemon in the foreground.")
@setting_flags
@click.option("--socket", metavar="PATH", help="Listen here.")
@click.option("--state-dir", metavar="DIR", help="Keep the journal here.")
@click.option("--remote", metavar="URL", help="The bucket or directory everything goes to.")
@click.option("--web", metavar="PLACE", help='Serve the page and /metrics: "127.0.0.1:PORT", "unix:/path" or "off".')
@click.option("--autostarted", is_flag=True, help="A client started it: leave when idle (idle_exit).")
@manners
def serve(
    config: str | None,
    assigned: tuple[str, ...],
    socket: str | None,
    state_dir: str | None,
    remote: str | None,
    web: str | None,
    autostarted: bool,
) -> int:
    """Run the daemon until SIGTERM or SIGINT; open jobs go on at its next start."""
    flags = as_flags(config, assigned, socket=socket, state_dir=state_dir, remote=remote, web=web)
    if autostarted:
        for name in SYSTEMDS:
            os.environ.pop(name, None)
    settings = load(flags, os.environ)
    from syncd.daemon.serve import serve as run  # asyncio, uvloop, aiohttp: `syncd --help` need not wait for them

    return run(settings, autostarted=autostarted)
