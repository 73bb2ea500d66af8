"""Sizes, rates and durations as people read them."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def size_text(count: float) -> str:
    """Return a number of bytes with three digits or so: "0 B", "1.5 KiB", "213 MiB"."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    digits = 1 if unit and count < 99.95 else 0
    return f"{count:.{digits}f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """Return a duration as a clock shows it: "0:07", "12:05", "3:00:00"."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, _HOUR)
    minutes, last = divmod(rest, _MINUTE)
    return f"{hours}:{minutes:02d}:{last:02d}" if hours else f"{minutes}:{last:02d}"


def age_text(seconds: float) -> str:
    """Return how long ago something was, in its largest unit: "now", "42 s", "5 min", "3 h", "12 d"."""
    if seconds < 1:
        return "now"
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
