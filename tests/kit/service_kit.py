"""A whole service in this process: real journal, pins, engine and flows on a store in memory; its socket, if wanted."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncd.budget import Budget
from syncd.check.run import Ground
from syncd.clock import Clock, SystemClock
from syncd.disk import Disk
from syncd.download.run import Downloads
from syncd.engine import Engine, EngineParams, Flows
from syncd.errors import NotFound
from syncd.events import Bus
from syncd.format.chunker import load
from syncd.journal.core import open_journal
from syncd.journal.jobs import JobRow
from syncd.journal.memory import JournalMemory
from syncd.lanes import Lane
from syncd.meter import Meter
from syncd.pin import PinLanes, PinParams, Pins, open_pins
from syncd.repo.remote import Remote
from syncd.repo.repository import Repository
from syncd.server.listener import Listener
from syncd.service import Service, ServiceParts
from syncd.service.checks import CheckVerbs
from syncd.service.copies import CopyVerbs
from syncd.service.service import Identity
from syncd.store.base import Store
from syncd.upload.parts import UploadParams
from syncd.upload.run import Uploads
from syncd_client.wire import messages as m
from syncd_client.wire.codec import build, decode_server_frame, encode_request
from syncd_client.wire.frames import FrameReader
from tests.kit.repo_kit import NEW

DEADLINE = 20.0


class NoWatches:
    """A watcher of nothing."""

    def views(self) -> list[Any]:
        return []


@dataclass
class Room:
    service: Service
    engine: Engine
    pins: Pins
    path: str
    clients: list[Client] = field(default_factory=list)

    async def connect(self, greet: bool = True) -> Client:
        reader, writer = await asyncio.open_unix_connection(self.path)
        client = Client(reader, writer)
        self.clients.append(client)
        if greet:
            kind, body = await client.ask(m.Hello("tests"))
            assert kind == "ok", body
        return client


class Client:
    """One raw connection: requests out, frames in, in the order they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.events: list[tuple[int, str, dict[str, Any]]] = []
        self._frames = FrameReader()
        self._come: list[tuple[int, str, dict[str, Any]]] = []
        self._numbers = itertools.count(1)

    def send(self, request: m.Request) -> int:
        number = next(self._numbers)
        self.writer.write(encode_request(number, request))
        return number

    async def next(self) -> tuple[int, str, dict[str, Any]]:
        """Return the next frame; EOFError when the daemon hung up."""
        async with asyncio.timeout(DEADLINE):
            while not self._come:
                data = await self.reader.read(1 << 16)
                if not data:
                    raise EOFError
                self._come = [decode_server_frame(payload) for payload in self._frames.feed(data)]
            return self._come.pop(0)

    async def answer(self, number: int) -> tuple[str, dict[str, Any]]:
        """Return how one request was answered; events are kept."""
        while True:
            frame = await self.next()
            if frame[0] == number and frame[1] in ("ok", "error"):
                return frame[1], frame[2]
            self.events.append(frame)

    async def ask(self, request: m.Request) -> tuple[str, dict[str, Any]]:
        return await self.answer(self.send(request))

    async def call(self, request: m.Request) -> Any:
        kind, body = await self.ask(request)
        assert kind == "ok", body
        return build(request.reply, body)

    async def refused(self, request: m.Request) -> str:
        kind, body = await self.ask(request)
        assert kind == "error", body
        return str(body["code"])

    async def add(self, draft: str, path: Path) -> Any:
        facts = path.stat()
        return await self.call(
            m.AddFile(draft, os.fsencode(path), os.fsencode(path.name), facts.st_dev, facts.st_ino, facts.st_size)
        )

    def close(self) -> None:
        self.writer.close()

    async def gone(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def service_room(
    home: Path, store: Store, clock: Clock | None = None, connections: int = 20, run_engine: bool = True
) -> AsyncIterator[Room]:
    """Serve on a socket below `home`; `clock` is the service's and the engine's."""
    home.mkdir(parents=True, exist_ok=True)
    clock = clock or SystemClock()
    rng = random.Random(5)
    async with AsyncExitStack() as stack:
        lanes = {
            name: Lane(name, 2 if name != "journal" else 1) for name in ("journal", "work", "pin", "rescue", "sync")
        }
        for lane in reversed(lanes.values()):
            stack.callback(lane.close)
        journal = await open_journal(str(home / "journal.db"), lanes["journal"])
        stack.push_async_callback(journal.close)
        pins = await open_pins(
            PinParams(spool_tops=(os.fsencode(home.parent),), reserve=0, sync_delay=0), Disk(), journal,
            PinLanes(lanes["pin"], lanes["rescue"], lanes["sync"]), clock, Meter(threading.Lock()), os.fsencode(home),
            lambda draft, why: None, "boot",
        )  # fmt: skip
        stack.push_async_callback(pins.close)
        remote = Remote("memory://", store, JournalMemory(journal), lanes["work"], clock, rng, NEW)
        bus, budget = Bus(), Budget(1 << 20)

        async def flows() -> Flows:
            repository = await remote.repository()
            params = UploadParams(8 << 10, 16 << 10, 3)
            uploads = Uploads(repository, journal, pins, lanes["work"], load(), params, budget, clock, "node")
            return Flows(uploads, Downloads(repository, Disk(), lanes["work"], budget))

        async def checked() -> Ground:
            return Ground(
                await remote.repository(), JournalMemory(journal), None, journal, pins.reader, load(), lanes["work"],
                budget, clock, rng, "node",
            )  # fmt: skip

        @asynccontextmanager
        async def nowhere(url: str) -> AsyncIterator[Repository]:
            raise NotFound(f"no repository at {url}")
            yield

        copies = CopyVerbs(remote.reading, nowhere, lanes["work"], budget, clock, "node")

        async def discard(row: JobRow) -> None:
            return

        engine = Engine(EngineParams(), journal, flows, pins, discard, bus, clock, rng, remote.say)
        identity = Identity("0", os.getpid(), "node", 0.0, "tests", 1 << 20, "proj", os.fsencode(home))
        service = Service(
            ServiceParts(
                identity=identity, ledger=journal, engine=engine, pins=pins, remote=remote, bus=bus,
                watcher=NoWatches(),  # type: ignore[arg-type]
                checks=CheckVerbs(checked, JournalMemory(journal), rng), copies=copies, meter=Meter(threading.Lock()),
                lane=lanes["work"], budget=budget, clock=clock, rng=rng, draft_ttl=600.0,
                stop=lambda: None, memory=lambda: 0,
            )
        )  # fmt: skip
        path = str(home / "s")
        listening = socket.socket(socket.AF_UNIX)
        stack.callback(listening.close)
        listening.bind(path)
        listening.listen()
        running = [asyncio.ensure_future(Listener(service, listening, connections).run())]
        if run_engine:
            running.append(asyncio.ensure_future(engine.run()))
        room = Room(service, engine, pins, path)
        try:
            yield room
            assert not [task for task in running if task.done()], "a part of the daemon died"
        finally:
            for client in room.clients:
                await client.gone()
            for task in running:
                task.cancel()
            await asyncio.wait(running)
