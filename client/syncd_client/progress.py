"""Progress for people: one line on standard error with a bar, a rate and the time left. Silent unless that is a TTY."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from syncd_client.wire.messages import JobInfo

_WIDTH = 24
_COLUMNS = 100
_SHORTEST = 8
_EVERY = 0.1
_RATE_OVER = 5.0


class Progress:
    """A bar that is drawn over itself. Use as `on_event`, or call `update`; `close` (or `with`) clears the line.

    Args:
        label: what stands before the bar; None: what the job says.
        stream: where to draw; None: standard error, and only when it is a terminal.
    """

    def __init__(self, label: str | None = None, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = stream or sys.stderr
        self.shown = stream is not None or _is_terminal(self._stream)
        self._jobs: dict[str, JobInfo] = {}
        self._samples: list[tuple[float, int]] = []
        self._drawn = 0.0
        self._length = 0

    def __call__(self, job: JobInfo) -> None:
        """Take one "job" event; several jobs are shown as their sum."""
        if not self.shown:
            return
        self._jobs[job.job] = job
        jobs = self._jobs.values()
        label = self._label or (f"{job.name} {job.state}" if len(jobs) == 1 else f"{len(jobs)} jobs")
        self.update(sum(one.bytes_done for one in jobs), sum(one.bytes_total for one in jobs), label)

    def update(self, done: int, total: int, label: str = "") -> None:
        """Draw, at most ten times a second."""
        now = time.monotonic()
        if not self.shown or (now - self._drawn < _EVERY and done != total):
            return
        self._drawn = now
        self._samples = [one for one in self._samples if now - one[0] < _RATE_OVER] + [(now, done)]
        line = render(label or self._label or "", done, total, self._rate(), self._columns())
        self._stream.write("\r" + line.ljust(self._length))
        self._stream.flush()
        self._length = len(line)

    def close(self) -> None:
        """Clear the line."""
        if self._length:
            self._stream.write("\r" + " " * self._length + "\r")
            self._stream.flush()
            self._length = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):  # drawn into something that is no terminal
            return _COLUMNS

    def _rate(self) -> float:
        (since, before), (now, done) = self._samples[0], self._samples[-1]
        return (done - before) / (now - since) if now > since else 0.0


def render(label: str, done: int, total: int, rate: float, columns: int = _COLUMNS) -> str:
    """Return the line: label, bar, share, bytes, rate, time left (unknown where nothing moves).

    It is shorter than `columns`, for a line that wraps cannot be drawn over: first the label gives way, then the end.
    """
    share = min(1.0, done / total) if total else 0.0
    bar = "#" * round(share * _WIDTH)
    left = f"ETA {clock((total - done) / rate)}" if rate > 0 and total > done else ""
    speed = f"{size(rate)}/s" if rate > 0 else ""
    rest = [f"[{bar:-<{_WIDTH}}] {share:4.0%}", f"{size(done)} / {size(total)}", speed, left]
    line = "  ".join(part for part in rest if part)
    room = columns - len(line) - 3
    if len(label) > room:
        label = label[: room - 3] + "..." if room > _SHORTEST else ""
    return (f"{label}  {line}" if label else line)[: columns - 1]


def size(count: float) -> str:
    """Return bytes for people: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def clock(seconds: float) -> str:
    """Return a duration for people: 0:42, 1:02:03."""
    whole = int(min(seconds, 359_999))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def say(text: str) -> None:
    """Tell the person one line, on standard error; silent when $SYNCD_SILENT is set."""
    if not os.environ.get("SYNCD_SILENT"):
        sys.stderr.write(f"syncd: {text}\n")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # no stderr at all, or one that is closed
        return False
