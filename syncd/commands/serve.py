"""`syncd serve`: be the daemon, in the foreground."""

from __future__ import annotations

import os

import click

from syncd.commands.flags import as_flags, setting_flags
from syncd.commands.say import manners
from syncd.settings import load


@click.command()
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
    environ = dict(os.environ)
    if autostarted:  # the client's own service may have handed its systemd directories down: they are not ours
        for name in ("STATE_DIRECTORY", "CACHE_DIRECTORY", "RUNTIME_DIRECTORY"):
            environ.pop(name, None)
    settings = load(flags, environ)
    from syncd.daemon.serve import serve as run  # asyncio, uvloop, aiohttp: `syncd --help` need not wait for them

    return run(settings, autostarted=autostarted)
