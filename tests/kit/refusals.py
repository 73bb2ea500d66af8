"""What a refusal must look like to a person and to a script."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.kit.daemon import Daemon

LINES = 3


def refused(daemon: Daemon, exit_code: int, *words: str | bytes, naming: str = "", **more: Any) -> dict[str, Any]:
    """Run `syncctl --json words...`; it must end with that code, say what, why and hint, and name the object.

    Returns:
        The JSON error object.
    """
    return check_refusal(daemon.syncctl("--json", *words, **more), exit_code, naming)


def check_refusal(done: subprocess.CompletedProcess[str], exit_code: int, naming: str = "") -> dict[str, Any]:
    """Check how a `syncctl --json` run has failed."""
    assert done.returncode == exit_code, (done.returncode, done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note:")]
    assert 1 <= len(lines) <= LINES, done.stderr
    assert lines[0].startswith("syncctl: "), done.stderr
    assert naming in done.stderr, done.stderr
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["exit"] == exit_code
    assert error["code"]
    assert f"syncctl: {error['what']}" == lines[0]
    assert isinstance(error, dict)
    return error


def hinted(error: dict[str, Any]) -> None:
    """The error says what to do next."""
    assert error["hint"], error
