"""What web door tests need: facts that are made up, a door on a free port, a raw request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from syncd.errors import SyncdError
from syncd.meter import Meter
from syncd.model.views import ArtifactView, ErrorView, JobView, StatusView
from syncd.web import WebDoor, WebParams

NOW = 1_700_000_000.0


class FixedClock:
    passed = 0.0

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the web door does not sleep")


def made_up_status() -> StatusView:
    return StatusView(
        version="0.1.0",
        pid=1,
        node="node-7",
        started=NOW - 7200,
        remote="file:///data/bucket",
        remote_state="ok",
        chunker="native-avx2",
        jobs={"sending": 1, "done": 2},
        queue_bytes=3 << 29,
        spool_bytes=1 << 30,
        memory_bytes=120 << 20,
        memory_budget=256 << 20,
        drafts=1,
        watches=1,
        pins={"lease": 3, "copy": 1},
    )


def upload(**other: object) -> JobView:
    facts: dict[str, object] = {
        "job": "01hq-upload",
        "kind": "upload",
        "state": "sending",
        "project": "vision",
        "name": "resnet",
        "type": "model",
        "bytes_total": 1 << 30,
        "bytes_done": 450 << 20,
        "bytes_stored": 300 << 20,
        "files_total": 12,
        "files_done": 5,
        "created": NOW - 60,
        "updated": NOW - 2,
    }
    return JobView(**(facts | other))  # type: ignore[arg-type]


@dataclass
class MadeUpFacts:
    view: StatusView = field(default_factory=made_up_status)
    job_list: list[JobView] = field(default_factory=lambda: [upload()])
    artifact_list: list[ArtifactView] = field(default_factory=list)
    is_alive: bool = True
    is_ready: bool = True
    trouble: SyncdError | None = None
    asked: int = 0

    async def status(self) -> StatusView:
        return self.view

    async def listed_jobs(self, limit: int) -> list[JobView]:
        return self.job_list[:limit]

    async def listed_artifacts(self, limit: int) -> list[ArtifactView]:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return self.artifact_list[:limit]

    async def alive(self) -> bool:
        return self.is_alive

    async def ready(self) -> bool:
        return self.is_ready


def busy_facts() -> MadeUpFacts:
    """A daemon with something of everything."""
    error = ErrorView(
        "source_lost",
        "the pinned file /data/run/ckpt/weights.bin was rewritten while the daemon was down",
        "its bytes are no longer those that were logged",
        "log it again",
    )
    jobs = [
        upload(),
        upload(job="01hq-wait", state="waiting", name="tokens", type="dataset", attempt=3, warnings=["remote is slow"]),
        upload(job="01hq-done", state="done", version=4, bytes_stored=1 << 20, updated=NOW - 4000),
        upload(job="01hq-fail", state="failed", name="broken", error=error),
        upload(job="01hq-get", kind="download", state="fetching", name="corpus", version=0, bytes_done=0),
    ]
    artifacts = [
        ArtifactView("vision", "resnet", "model", 5, 4, 1 << 30, NOW - 4000),
        ArtifactView("vision", "a-rather-long-artifact-name-" + "x" * 90, "dataset", 1, 0, 123, NOW - 90000),
    ]
    return MadeUpFacts(job_list=jobs, artifact_list=artifacts)


@asynccontextmanager
async def open_door(
    facts: MadeUpFacts, params: WebParams | None = None, clock: FixedClock | None = None
) -> AsyncIterator[WebDoor]:
    door = WebDoor(params or WebParams(port=0), facts, Meter(threading.Lock()), clock or FixedClock())
    await door.start()
    try:
        yield door
    finally:
        await door.close()


async def request(door: WebDoor, head: str) -> tuple[int, dict[str, str], str]:
    """Send a head as it is (`PORT` replaced) and read the answer to its end."""
    if door.address.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(door.address.removeprefix("unix:"))
        port = ""
    else:
        port = door.address.rsplit(":", 1)[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    text = head.replace("PORT", port).replace("\n", "\r\n") + "\r\nConnection: close\r\n\r\n"
    writer.write(text.encode())
    async with asyncio.timeout(20):
        answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    first, _, rest = answer.partition("\r\n")
    headers, _, body = rest.partition("\r\n\r\n")
    pairs = (line.split(": ", 1) for line in headers.split("\r\n"))
    return int(first.split()[1]), {name.lower(): value for name, value in pairs}, body


async def get(door: WebDoor, path: str = "/") -> tuple[int, dict[str, str], str]:
    return await request(door, f"GET {path} HTTP/1.1\nHost: 127.0.0.1:PORT")
