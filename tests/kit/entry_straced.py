"""`python -m tests.kit.entry_straced CALLS N`: the wrapped daemon under strace, killed in its N-th of CALLS."""

from __future__ import annotations

import os
import sys

from tests.kit.kills import ENTRY

if __name__ == "__main__":
    calls, number = sys.argv[1:]
    # fmt: off
    os.execvp("strace", [
        "strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
        "-e", f"inject={calls}:signal=KILL:when={number}", sys.executable, *ENTRY,
    ])
    # fmt: on
