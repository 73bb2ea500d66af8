"""Real file systems in files of their own, mounted by loop: some things cannot be learnt from a simulated disk."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

MEGABYTES = 320  # the least that mkfs.xfs takes is 300
PACKAGES = {"xfs": "xfsprogs", "btrfs": "btrfs-progs"}


def image(top: Path, kind: str, *options: str) -> tuple[str, ...]:
    """Make `top`/img, a file system; return the commands that mount it at `top`/m. Skips where there is no mkfs."""
    needed = f"apt-get install {PACKAGES[kind]}"
    make = shutil.which(f"mkfs.{kind}", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if make is None:
        pytest.skip(f"needs mkfs.{kind}: {needed}")
    path = top / "img"
    with path.open("wb") as file:
        file.truncate(MEGABYTES << 20)
    subprocess.run([make, "-q", *options, path], check=True, capture_output=True, timeout=60)
    (top / "m").mkdir()
    failed = f"needs root, loop devices and {kind} in the kernel ({needed})"
    mount = shlex.join(["mount", "-t", kind, "-o", "loop", str(path), str(top / "m")])
    return (f"{{ {mount} 2>/dev/null || {{ echo '{failed}' >&2; false; }}; }}",)
