"""A real S3 server for tests: Ceph's radosgw with one monitor and one store in memory, on loopback, no root needed.

The programs are those on PATH, or those below the directory that SYNCD_TEST_CEPH names (tools/ceph.sh unpacks them
there from Debian's packages, installing nothing).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.kit.daemon import until
from tests.kit.servers import KEY, SECRET, Server, free_port, process

MACHINES = ("x86_64-linux-gnu", "aarch64-linux-gnu")
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool", "ceph")
MEMORY = 4 << 30

# What is not said here has a default that fits. Quorum of one, no authentication between the three (they share a
# loopback), small answers at once (tcp_nodelay: a small GET takes 2 ms instead of 44).
CONF = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{mon}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = {memory}
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 1
osd class dir = {lib}/rados-classes
erasure code dir = {lib}/ceph/erasure-code
plugin dir = {lib}/ceph
compression dir = {lib}/ceph/compressor
run dir = {place}
admin socket = {place}/$name.asok
log file = {place}/$name.log
pid file = {place}/$name.pid
keyring = {place}/keyring
mon data = {place}/mon
osd data = {place}/osd
rgw data = {place}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw enable apis = s3
rgw enable usage log = false
setuser match path =
"""


class Ceph:
    """The programs, where they are, and the place they work in."""

    def __init__(self, place: Path) -> None:
        root = Path(os.environ.get("SYNCD_TEST_CEPH") or "/")
        root = root if (root / "usr/bin/radosgw").exists() else Path("/")  # nothing was unpacked there
        self.place = place
        self.lib = next(
            (root / "usr/lib" / name for name in MACHINES if (root / "usr/lib" / name / "ceph").exists()), root
        )
        paths = [str(root / "usr/bin"), os.environ.get("PATH", "")]
        self.environ = {"PATH": os.pathsep.join(paths), "CEPH_CONF": str(place / "ceph.conf")}
        if root != Path("/"):
            self.environ["LD_LIBRARY_PATH"] = os.pathsep.join(
                str(p) for p in (self.lib, root / "usr/lib", self.lib / "ceph")
            )
            self.environ["PYTHONPATH"] = str(root / "usr/lib/python3/dist-packages")
        self.programs = {name: shutil.which(name, path=self.environ["PATH"]) or "" for name in PROGRAMS}

    def missing(self) -> list[str]:
        return [name for name, path in self.programs.items() if not path]

    def run(self, program: str, *words: str, check: bool = True) -> str:
        """Run one of the programs to its end; return what it printed."""
        argv = [self.programs[program], *words]
        if program == "ceph":
            argv = ["/usr/bin/python3", *argv]  # its bindings are built for Debian's own
        done = subprocess.run(
            argv, env=os.environ | self.environ, capture_output=True, text=True, timeout=60, cwd=self.place
        )
        assert not check or done.returncode == 0, f"{program} {words}: {done.stderr[-2000:]}"
        return done.stdout

    def stored(self) -> bool:
        """Whether the monitor says that the store is up."""
        return "1 up" in self.run("ceph", "--connect-timeout", "10", "osd", "stat", check=False)

    @contextmanager
    def serving(self, program: str, *words: str) -> Iterator[int]:
        """Run one of the daemons until the context is left."""
        with (self.place / f"{program}.out").open("wb") as out:
            child = subprocess.Popen(
                [self.programs[program], "-f", *words], env=os.environ | self.environ, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, cwd=self.place, start_new_session=True,
            )  # fmt: skip
        try:
            yield child.pid
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@contextmanager
def radosgw(place: Path) -> Iterator[Server]:
    """A running radosgw with one user; about 13 seconds to start."""
    ceph = Ceph(place)
    if ceph.missing():
        pytest.skip(f"no {', '.join(ceph.missing())}: tools/ceph.sh DIR, then SYNCD_TEST_CEPH=DIR")
    port, mon, fsid, osd = free_port(), free_port(), str(uuid.uuid4()), str(uuid.uuid4())
    for name in ("mon", "osd", "rgw"):
        (place / name).mkdir()
    conf = CONF.format(fsid=fsid, mon=mon, memory=MEMORY, lib=ceph.lib, place=place, port=port)
    (place / "ceph.conf").write_text(conf)
    _lay(ceph, fsid, mon)
    with ceph.serving("ceph-mon", "-i", "a"):
        ceph.run("ceph", "--connect-timeout", "20", "osd", "new", osd)
        ceph.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, check=False)
        with ceph.serving("ceph-osd", "-i", "0"):
            until(ceph.stored, 120, "a running store")
            argv = [ceph.programs["radosgw"], "-f", "-n", "client.admin"]
            with process(argv, port, ceph.environ, str(place)) as pid:
                make_user(ceph, "syncd", KEY, SECRET)
                make_user(ceph, "writer", "writerkey", "writersecret")
                environ = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
                yield Server("s3", port, environ, "&region=us-east-1", pid=pid)


def make_user(ceph: Ceph, name: str, key: str, secret: str) -> None:
    """Make a user with keys."""
    ceph.run(
        "radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}", f"--access-key={key}",
        f"--secret-key={secret}",
    )  # fmt: skip


def _lay(ceph: Ceph, fsid: str, mon: int) -> None:
    place = ceph.place
    everywhere = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
    steps: Sequence[tuple[str, ...]] = (
        ("ceph-authtool", "--create-keyring", f"{place}/keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"),
        ("ceph-authtool", f"{place}/keyring", "--gen-key", "-n", "client.admin", *everywhere),
        ("monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{mon}]", "--fsid", fsid, f"{place}/monmap"),
        ("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{place}/monmap", "--keyring", f"{place}/keyring"),
    )  # fmt: skip
    for program, *words in steps:
        ceph.run(program, *words)


if __name__ == "__main__":
    # `python -m tests.kit.ceph PLACE`: one to work with by hand, until its standard input ends.
    with radosgw(Path(sys.argv[1])) as server:
        print(f"{server.url('BUCKET')} {dict(server.environ)}", flush=True)
        sys.stdin.read()
