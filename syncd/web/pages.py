"""The one page: what the daemon is doing, for a person. Plain HTML, every text escaped, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from syncd.model.views import ArtifactView, ErrorView, JobView, StatusView

REFRESH_SECONDS = 2
STYLESHEET = "/static/page.css"

_HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{REFRESH_SECONDS}">
<title>syncd</title>
<link rel="stylesheet" href="{STYLESHEET}">
</head>
<body>
"""
_FOOT = "</body>\n</html>\n"


def page(
    status: StatusView,
    jobs: Sequence[JobView],
    artifacts: Sequence[ArtifactView],
    problem: ErrorView | None,
    now: float,
) -> str:
    """The whole page; `problem` says why the artifacts could not be read, if so."""
    return "".join(
        (
            _HEAD,
            _header(status, now),
            _warnings(status),
            "<main>",
            _jobs(jobs, now),
            _artifacts(artifacts, problem, now),
            "</main>",
            _FOOT,
        )
    )


def text(value: str) -> str:
    """Untrusted text for HTML: escaped; control and direction characters, which could disguise it, shown as escapes."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return escape(shown, quote=True)


def size(count: int) -> str:
    """Bytes for people, in powers of 1024."""
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{count} B" if unit == "B" else f"{number:.1f} {unit}"


def ago(then: float, now: float) -> str:
    """An age for people."""
    seconds = max(0.0, now - then)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago"


def _header(status: StatusView, now: float) -> str:
    well = status.remote_state == "ok"
    facts = (
        ("Remote", f'{text(status.remote)} <b class="{"ok" if well else "bad"}">{text(status.remote_state)}</b>'),
        ("To upload", size(status.queue_bytes)),
        ("Spool", size(status.spool_bytes)),
        ("Memory", f"{size(status.memory_bytes)} <small>resident</small>"),
        ("Transfers may hold", size(status.memory_budget)),
        ("Failed jobs", f'<b class="bad">{status.failed}</b>' if status.failed else "none"),
        ("Watched", _count(status.watches, "directory", "directories")),
        ("Started", ago(status.started, now)),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    title = f"<h1>syncd <small>{text(status.version)} on {text(status.node)}</small></h1>"
    return f"<header>{title}<dl>{cells}</dl></header>\n"


def _warnings(status: StatusView) -> str:
    return "".join(f'<p class="warning">{text(warning)}</p>\n' for warning in status.warnings)


def _jobs(jobs: Sequence[JobView], now: float) -> str:
    head = ("State", "Artifact", "Progress", "Transferred", "Files", "Changed")
    return _table("Jobs", head, [_job(job, now) for job in jobs], "No jobs yet. Log an artifact and it appears here.")


def _job(job: JobView, now: float) -> str:
    version = f":v{job.version}" if job.version is not None else ""
    name = _name(job.project, job.name, version)
    detail = f"<small>{text(job.kind)} {text(job.job)}</small>"
    row = _cells(
        f'<span class="state {text(job.state)}">{text(job.state)}</span>',
        f"{name}<br>{detail}",
        _progress(job),
        f"{size(job.bytes_stored)} {'fetched' if job.kind == 'download' else 'sent'}",
        f"{job.files_done} of {job.files_total}",
        ago(job.updated, now),
    )
    notes = [f'<p class="warning">{text(warning)}</p>' for warning in job.warnings]
    if job.next_try:
        notes.append(f'<p class="warning">Next try in {max(0, round(job.next_try - now))} s.</p>')
    if job.error is not None:
        notes.append(_error(job.error))
    return row + (f'<tr class="notes"><td colspan="6">{"".join(notes)}</td></tr>' if notes else "")


def _progress(job: JobView) -> str:
    finished = job.state in ("done", "committed")
    done = job.bytes_total if finished else min(job.bytes_done, job.bytes_total)
    whole = max(job.bytes_total, 1)
    share = 100 if finished else 100 * done // whole
    bar = f'<progress max="{whole}" value="{whole if finished else done}">{share}%</progress>'
    return f"{bar}<br><small>{share}% · {size(done)} of {size(job.bytes_total)}</small>"


def _artifacts(artifacts: Sequence[ArtifactView], problem: ErrorView | None, now: float) -> str:
    rows = [
        _cells(
            _name(each.project, each.name),
            text(each.type),
            f"v{each.latest}" if each.latest is not None else "none yet",
            str(each.versions),
            size(each.size),
            ago(each.updated, now) if each.updated else text(each.error.what) if each.error else "",
        )
        for each in artifacts
    ]
    head = ("Artifact", "Type", "Latest", "Versions", "Size", "Changed")
    if problem is not None:
        return f"<section><h2>Artifacts</h2>{_error(problem)}</section>\n"
    return _table("Artifacts", head, rows, "Nothing committed yet.")


def _error(error: ErrorView) -> str:
    lines = "<br>".join(text(line) for line in (error.what, error.why, error.hint) if line)
    return f'<p class="error">{lines}</p>'


def _table(title: str, head: Iterable[str], rows: Sequence[str], empty: str) -> str:
    if not rows:
        return f'<section><h2>{title}</h2><p class="empty">{empty}</p></section>\n'
    heads = "".join(f'<th scope="col">{name}</th>' for name in head)
    return (
        f"<section><h2>{title}</h2><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></section>\n"
    )


def _cells(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _name(project: str, name: str, version: str = "") -> str:
    return f'<span class="name">{text(project)}/<b>{text(name)}</b>{version}</span>'


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
