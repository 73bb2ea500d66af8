"""Scenarios that need file systems of their own: a function run in another process, in a mount namespace.

There it may mount and remount as it likes; the daemons it starts have no rights all the same (tests/kit/daemon.py).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.daemon import ROOT


def in_own_mounts(top: Path, module: str, *words: Path | str, mounts: tuple[str, ...] = ()) -> None:
    """Run `python -m module words...` in a namespace of its own, in the directory `top`, after the mount commands."""
    for tool in ("unshare", "mount", "setpriv"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt install util-linux mount")
    namespace = ["unshare", *(["-r"] if os.geteuid() else []), "-m", "sh", "-c"]
    line = " && ".join((f"cd {shlex.quote(str(top))}", *mounts, 'exec "$0" "$@"'))
    tried = subprocess.run([*namespace, line, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"these mounts cannot be made here: {tried.stderr.strip()[:200]}")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")])}
    argv = [*namespace, line, sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]


def remount(place: Path, options: str) -> None:
    """Change a mount: "ro", "rw", "size=16m"."""
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True, timeout=30)
