"""Processes that work on drafts, told apart over restarts of the daemon: a number alone may be another's by then."""

from __future__ import annotations

from pathlib import Path

_START_TIME = 19
"""Place of `starttime` among the fields behind the name in /proc/PID/stat (proc(5) counts it as the 22nd of all)."""


def stamp(process: int) -> str:
    """Return what tells a living process from every other one since the machine booted; "" when there is none."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return f"{boot} {process} {fields[_START_TIME]}" if len(fields) > _START_TIME and fields[0] != "Z" else ""


def lives(noted: str) -> bool:
    """Whether the process that was stamped so is still there."""
    words = noted.split(" ")
    return len(words) == 3 and words[1].isdecimal() and stamp(int(words[1])) == noted
