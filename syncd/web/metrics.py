"""Public metric names: one table from what the daemon counts to what Prometheus reads. docs/METRICS.md tells the same.

No artifact, project or path is ever a label: a label value is a time series for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from syncd.meter import Key, Snapshot
from syncd.model.views import JobView, StatusView

T = TypeVar("T")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN_STATES = frozenset({"accepted", "sending", "committing", "committed", "fetching", "waiting"})


class Kind(Enum):
    """How a number behaves, and where the meter keeps it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Named:
    """A public metric.

    Attributes:
        name: as Prometheus shows it (a summary adds _count and _sum).
        help: one line, the same as in docs/METRICS.md.
        labels: public label names.
        source: the meter's plain name; empty: computed from the status and the jobs.
        renamed: public label -> the meter's label, where they differ.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    source: str = ""
    renamed: tuple[tuple[str, str], ...] = ()

    def label_values(self, labels: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
        """The meter's labels in this metric's order; one it was not counted by is empty."""
        given = dict(labels)
        renamed = dict(self.renamed)
        return tuple(given.get(renamed.get(label, label), "") for label in self.labels)


C, G, S = Kind.COUNTER, Kind.GAUGE, Kind.SUMMARY
REMOTE = ("remote",)

TABLE: tuple[Named, ...] = (
    Named("syncd_build_info", G, "Always 1; the labels say which program this is.", ("version", "chunker")),
    Named("syncd_start_time_seconds", G, "When the daemon started, seconds since the epoch."),
    Named("syncd_remote_up", G, "1 while the last request to the remote did not fail."),
    Named("syncd_queue_jobs", G, "Jobs that are not finished, by state.", ("state",)),
    Named("syncd_queue_bytes", G, "Bytes logged and not yet committed."),
    Named("syncd_oldest_pending_seconds", G, "Age of the oldest job that is not finished; 0 when there is none."),
    Named("syncd_spool_bytes", G, "Bytes the spools hold, so that logged files do not change."),
    Named("syncd_pinned_files", G, "Files pinned, by way.", ("way",)),
    Named("syncd_memory_bytes", G, "Memory in use."),
    Named("syncd_memory_budget_bytes", G, "Memory the transfers may use."),
    Named("syncd_drafts", G, "Drafts: files added and not yet logged."),
    Named("syncd_watches", G, "Watched directories."),
    Named("syncd_upload_bytes_total", C, "Bytes put to the remote.", REMOTE, "put_bytes"),
    Named("syncd_download_bytes_total", C, "Bytes got from the remote.", REMOTE, "get_bytes"),
    Named("syncd_dedup_bytes_total", C, "Bytes not sent because the remote had them.", (), "dedup_bytes"),
    Named(
        "syncd_remote_requests_total",
        C,
        "Requests to the remote, by verb and outcome.",
        ("remote", "op", "code"),
        "remote_requests",
        (("code", "outcome"),),
    ),
    Named("syncd_remote_request_seconds", S, "How long requests took.", ("remote", "op"), "remote_request_seconds"),
    Named("syncd_last_commit_timestamp_seconds", G, "When a version was last committed.", (), "last_commit"),
    Named("syncd_commit_conflicts_total", C, "Slots of a log another node took first.", (), "commit_conflicts"),
    Named("syncd_collected_bytes_total", C, "Bytes that garbage collection deleted.", (), "collected_bytes"),
    Named("syncd_rewritten_bytes_total", C, "Bytes written to empty sparse packs.", (), "rewritten_bytes"),
    Named("syncd_gc_epoch", G, "Newest collection epoch that this node collected by.", (), "gc_epoch"),
    Named("syncd_cache_bytes", G, "Bytes in the download cache.", (), "cache_bytes"),
    Named("syncd_pins_lost_total", C, "Pinned files whose bytes were lost before they were sent.", (), "pins_lost"),
    Named("syncd_pins_rescued_total", C, "Pinned files copied because somebody wanted to write.", (), "pins_rescued"),
    Named("syncd_pin_held_seconds", S, "How long a writer's open() was held for a rescue.", (), "pin_held_seconds"),
)


def public_names() -> list[str]:
    """Every metric name, in the table's order."""
    return [named.name for named in TABLE]


def plain_names() -> set[str]:
    """Every name the meter may count by and be heard."""
    return {named.source for named in TABLE if named.source}


def render(snapshot: Snapshot, status: StatusView, jobs: Iterable[JobView], now: float) -> bytes:
    """The metrics page, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(snapshot, _from_status(status, jobs, now)))
    return generate_latest(registry)


class _Numbers(Collector):
    def __init__(self, snapshot: Snapshot, computed: dict[str, dict[tuple[str, ...], float]]) -> None:
        self._snapshot = snapshot
        self._computed = computed

    def collect(self) -> Iterator[Metric]:
        for named in TABLE:
            yield self._family(named)

    def _family(self, named: Named) -> Metric:
        if named.kind is Kind.SUMMARY:
            summary = SummaryMetricFamily(named.name, named.help, labels=named.labels)
            for key, (count, total) in _of(named, self._snapshot.times):
                summary.add_metric(named.label_values(key[1]), int(count), total)
            return summary
        family = (
            CounterMetricFamily(named.name, named.help, labels=named.labels)
            if named.kind is Kind.COUNTER
            else GaugeMetricFamily(named.name, named.help, labels=named.labels)
        )
        for values, number in self._numbers(named).items():
            family.add_metric(values, number)
        return family

    def _numbers(self, named: Named) -> dict[tuple[str, ...], float]:
        if not named.source:
            return self._computed[named.name]
        table = self._snapshot.counts if named.kind is Kind.COUNTER else self._snapshot.gauges
        numbers: dict[tuple[str, ...], float] = {} if named.labels or named.kind is Kind.GAUGE else {(): 0.0}
        for key, value in _of(named, table):
            values = named.label_values(key[1])
            numbers[values] = numbers.get(values, 0.0) + value
        return numbers


def _of(named: Named, table: dict[Key, T]) -> Iterator[tuple[Key, T]]:
    return ((key, value) for key, value in sorted(table.items()) if key[0] == named.source)


def _from_status(status: StatusView, jobs: Iterable[JobView], now: float) -> dict[str, dict[tuple[str, ...], float]]:
    pending = [job.created for job in jobs if job.state in OPEN_STATES]
    return {
        "syncd_build_info": {(status.version, status.chunker): 1},
        "syncd_start_time_seconds": {(): status.started},
        "syncd_remote_up": {(): float(status.remote_state == "ok")},
        "syncd_queue_jobs": {(state,): status.jobs.get(state, 0) for state in sorted(OPEN_STATES | set(status.jobs))},
        "syncd_queue_bytes": {(): status.queue_bytes},
        "syncd_oldest_pending_seconds": {(): max(0.0, now - min(pending)) if pending else 0.0},
        "syncd_spool_bytes": {(): status.spool_bytes},
        "syncd_pinned_files": {(way,): count for way, count in sorted(status.pins.items())},
        "syncd_memory_bytes": {(): status.memory_bytes},
        "syncd_memory_budget_bytes": {(): status.memory_budget},
        "syncd_drafts": {(): status.drafts},
        "syncd_watches": {(): status.watches},
    }
