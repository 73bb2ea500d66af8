"""How answers look: text and tables for people, plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from syncd_client.progress import size
from syncd_client.wire.messages import JobInfo, Receipt, VersionInfo

_WAYS = {
    "reflink": "reflinked",
    "lease": "linked under a read lease",
    "copy": "copied",
    "blob": "copied together (small files)",
    "none": "not protected (immutable, as promised)",
}


def printable(name: bytes) -> str:
    """Return a file name for people: undecodable bytes and control characters show as escapes."""
    return one_line(name.decode("utf-8", "backslashreplace"))


def one_line(text: str) -> str:
    """Return text that cannot break a line or steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def jsonable(value: Any) -> Any:
    """Return a message as what json.dumps takes; see the package docstring for how names are written."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable({one.name: getattr(value, one.name) for one in fields(value)})
    if isinstance(value, dict):
        made = {key: jsonable(inner) for key, inner in value.items()}
        exact = {f"{key}_hex": inner.hex() for key, inner in value.items() if _needs_hex(inner)}
        return {**made, **exact}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    return value


def _needs_hex(value: Any) -> bool:
    if not isinstance(value, bytes):
        return False
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns under a head; a head that begins with ">" aligns its column to the right."""
    if not rows:
        return ""
    lines = [[title.lstrip(">") for title in head], *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    made = []
    for line in lines:
        cells = [
            cell.rjust(width) if title.startswith(">") else cell.ljust(width)
            for cell, width, title in zip(line, widths, head, strict=True)
        ]
        made.append("  ".join(cells).rstrip())
    return "\n".join(made)


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return "name: value" lines with aligned values; empty values are left out."""
    kept = [(name, one_line(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in kept), default=0) + 1
    return "\n".join(f"{name + ':':<{width}} {value}" for name, value in kept)


def age(moment: float, now: float) -> str:
    """Return how long ago a moment was, in its largest unit: "42 s", "5 min", "3 h", "12 d"; "-" for none."""
    if not moment:
        return "-"
    seconds = max(0, int(now - moment))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def full_name(project: str, name: str, version: int | None) -> str:
    """Return "PROJECT/NAME:vN", without the parts that are not known."""
    text = f"{project}/{name}" if project else name
    return text if version is None else f"{text}:v{version}"


def receipt_line(receipt: Receipt) -> str:
    """Return what pinning did, in one line."""
    ways = ", ".join(f"{count} {_WAYS.get(way, way)}" for way, count in sorted(receipt.ways.items()) if count)
    text = f"pinned {counted(receipt.files, 'file')}, {size(receipt.bytes)}"
    return f"{text}: {ways}" if ways else text


def counted(count: int, noun: str) -> str:
    """Return "1 file", "2 files"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def outcome(job: JobInfo) -> str:
    """Return what became of an ended job, in one word or a name."""
    if job.state == "done" and job.kind == "download":
        return printable(job.root)
    return full_name("", job.name, job.version)


def version_row(version: VersionInfo, now: float) -> list[str]:
    """Return the cells of one version in a listing."""
    state = "" if version.state == "COMMITTED" else version.state.lower()
    aliases = ", ".join(version.aliases)
    made = age(version.created, now)
    return [
        f"v{version.version}",
        str(version.files),
        size(version.size),
        made,
        version.digest[:12],
        aliases,
        state,
    ]
