"""Daemons with two remotes: a primary and a mirror, both directories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, Daemon, running_daemon, until


@contextmanager
def mirrored_daemon(
    home: Path, primary: Path, mirror: Path, entry: Sequence[str] = ("-m", "syncd", "serve"), start: bool = True
) -> Iterator[Daemon]:
    """A daemon whose configuration names both; the primary is made when missing, the mirror is an empty directory."""
    mirror.mkdir(exist_ok=True)
    home.mkdir(parents=True, exist_ok=True)
    config = home / "config.toml"
    config.write_text(f'[[remote]]\nurl = "file://{primary}"\n\n[[remote]]\nurl = "file://{mirror}"\nrole = "mirror"\n')
    settings = {**SMALL, "SYNCD_CONFIG": str(config), "SYNCD_RETRY_FIRST": "10ms", "SYNCD_RETRY_TRIES": "2"}
    with running_daemon(home, remote=primary, settings=settings, entry=entry, start=False) as daemon:
        del daemon.environ["SYNCD_REMOTE"]
        if start:
            daemon.start()
        yield daemon


def objects(root: Path) -> dict[str, bytes]:
    """Return all objects of a directory remote by key."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".tmp" not in path.parts
    }


def caught_up(daemon: Daemon, primary: Path, mirror: Path) -> None:
    """Wait until the mirror holds all that the primary does."""

    def same() -> bool:
        here, there = objects(primary), objects(mirror)
        return all(there.get(key) == data for key, data in here.items())

    until(same, 30.0, f"a mirror that has all: {daemon.call(m.Status()).mirror_state}")
