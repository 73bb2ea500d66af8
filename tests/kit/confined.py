"""Python run where refusals really happen: without capabilities, on a small tmpfs of its own.

Root passes every permission check and writes to read-only modes, so a test as root would pass vacuously. The code runs
in its own mount namespace (and user namespace when the suite is not root) and loses all capabilities before it starts.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import pytest

APT = "apt-get install util-linux"


def run_confined(code: str, *, mount: str, size: str = "1m", prepare: str = "", read_only: bool = False) -> str:
    """Mount a tmpfs on the directory `mount`, run `prepare` with rights and `code` without; return what it printed.

    Args:
        code: Python source; `sys.argv[1]` is the mounted directory. A failure of it fails the test.
        prepare: Python source run first, same argument; then the mount becomes read-only if so asked.
    """
    for tool in ("unshare", "setpriv", "mount"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is missing: {APT}")
    python = f"{shlex.quote(sys.executable)} -W error -c"
    place = shlex.quote(mount)
    steps = [
        "set -e",
        f"mount -t tmpfs -o size={size},mode=700 tmpfs {place}",
        f"{python} {shlex.quote(prepare)} {place}" if prepare else "",
        f"mount -o remount,ro {place}" if read_only else "",
        f"exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs {python} {shlex.quote(code)} {place}",
    ]
    namespaces = ["-m"] if os.geteuid() == 0 else ["-r", "-m"]
    probe = subprocess.run(["unshare", *namespaces, "true"], capture_output=True)
    if probe.returncode:
        pytest.skip(f"no mount namespace for this user: {probe.stderr.decode(errors='replace').strip()}")
    done = subprocess.run(
        ["unshare", *namespaces, "sh", "-c", "\n".join(step for step in steps if step)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
