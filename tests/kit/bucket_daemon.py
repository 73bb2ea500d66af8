"""A real daemon whose remote is a bucket."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kit.daemon import SMALL, Daemon, running_daemon
from tests.kit.servers import Server


@contextmanager
def bucket_daemon(
    home: Path, server: Server, url: str, settings: Mapping[str, str] | None = None, *, start: bool = True,
    small: bool = True, entry: Sequence[str] = ("-m", "syncd", "serve"),
) -> Iterator[Daemon]:  # fmt: skip
    """A daemon at a bucket's address, with the server's credentials in its environment.

    Args:
        settings: further variables; they win.
        small: with the constants that make every edge of packing near.
    """
    environ = {
        **(SMALL if small else {}), **server.environ, "SYNCD_REMOTE": url, "SYNCD_RETRY_FIRST": "0.02",
        "SYNCD_RETRY_LONGEST": "0.1", **(settings or {}),
    }  # fmt: skip
    with running_daemon(home, settings=environ, start=start, entry=entry) as daemon:
        yield daemon


def syncd(daemon: Daemon, *words: str, code: int = 0) -> Any:
    """Run one of syncd's verbs in the daemon's environment; return what it printed as JSON."""
    daemon.home.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "syncd", *words, "--json"]
    done = subprocess.run(argv, env=daemon.environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout or done.stderr)
