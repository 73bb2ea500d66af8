"""The asyncio flavour: the same verbs, awaited. Loaded only when asked for, because asyncio costs a script's start.

    from syncd_client import aio as wandb
    async with wandb.init(project="p") as run:
        artifact = wandb.Artifact("training-data", type="dataset")
        await artifact.add_file("data/train.csv")
        await run.log_artifact(artifact)
        await artifact.wait()

Runs begun here are not the `run` of the blocking module, and nothing here speaks for "the active run".
Cancelling a task abandons its request in the daemon; jobs that were accepted go on.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import IO, Any, TypeVar

from syncd_client import autostart as starting
from syncd_client import errors, paths, runrecord, runs
from syncd_client._version import __version__
from syncd_client.connection import (
    HELLO_PATIENCE,
    HELLO_TRIES,
    IDLE_LIMIT,
    ONCE_ONLY,
    RESTART_PATIENCE,
    Asked,
    Lost,
    OnEvent,
    answer,
    broken,
    check_welcome,
    gone,
    reach,
)
from syncd_client.entry import ArtifactManifestEntry
from syncd_client.newfile import NewFile
from syncd_client.record import ArtifactRecord, StrPath
from syncd_client.steps import Steps
from syncd_client.wire import codec
from syncd_client.wire.errors import WireError
from syncd_client.wire.frames import FrameReader
from syncd_client.wire.messages import ErrorInfo, Hello, Request, Welcome

__all__ = ["Artifact", "Connection", "Run", "init"]

T = TypeVar("T")

_READ = 256 << 10


class Connection:
    """The way to one daemon from one event loop; each call has a channel to itself, as in the blocking flavour."""

    def __init__(self, socket: str | bytes | None = None, autostart: bool | None = None) -> None:
        self.socket = paths.check_socket(os.path.abspath(os.fsencode(socket))) if socket else paths.default_socket()
        self.autostart = starting.allowed() if autostart is None else autostart
        self._pid = os.getpid()
        self._idle: list[_Channel] = []
        self._welcome: Welcome | None = None

    async def welcome(self) -> Welcome:
        """Return what the daemon said of itself when this connection last connected."""
        if self._welcome is None:
            self._give_back(await self._take(0.0))
        assert self._welcome is not None
        return self._welcome

    async def call(self, request: Request, on_event: OnEvent | None = None) -> Any:
        """Send a request and return its reply; see the blocking Connection.call."""
        asked = Asked(request)
        try:
            return await self._once(asked.now(), on_event, 0.0)
        except Lost:
            if request.op in ONCE_ONLY:
                raise gone(self.socket) from None
        try:
            return await self._once(asked.now(), on_event, RESTART_PATIENCE)
        except Lost:
            raise gone(self.socket) from None

    async def drive(self, steps: Steps[T]) -> T:
        """Run a procedure of steps.py over this connection."""
        try:
            ask = next(steps)
            while True:
                try:
                    reply = await self.call(ask.request, ask.on_event)
                except errors.Error as error:
                    ask = steps.throw(error)
                else:
                    ask = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def close(self) -> None:
        """Close every idle channel. The connection may be used again; it then connects anew."""
        idle, self._idle = self._idle, []
        for channel in idle:
            await channel.close()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _once(self, request: Request, on_event: OnEvent | None, patience: float) -> Any:
        channel = await self._take(patience)
        try:
            return await channel.call(request, on_event)
        finally:
            self._give_back(channel)  # one whose call was abandoned is not usable, and aborted there

    async def _take(self, patience: float) -> _Channel:
        while self._idle:
            channel = self._idle.pop()
            if channel.alive():
                return channel
            channel.abort()
        for _ in range(HELLO_TRIES):
            sock = await asyncio.to_thread(reach, self.socket, self.autostart, patience)
            channel = _Channel(*await asyncio.open_unix_connection(sock=sock))
            welcome: Welcome | None = None
            try:
                welcome = await channel.hello()
            except Lost:
                continue
            finally:
                if welcome is None:
                    channel.abort()
            self._welcome = welcome
            return channel
        raise gone(self.socket)

    def _give_back(self, channel: _Channel) -> None:
        if channel.usable and len(self._idle) < IDLE_LIMIT:
            self._idle.append(channel)
        else:
            channel.abort()


class _Channel:
    """One socket that had its hello: one call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stream = reader
        self._writer = writer
        self._frames = FrameReader()
        self._last_id = 0
        self.usable = True

    async def hello(self) -> Welcome:
        try:
            async with asyncio.timeout(HELLO_PATIENCE):
                return check_welcome(await self.call(Hello(client=f"python/{__version__}"), None))
        except TimeoutError as error:
            raise errors.DaemonUnavailable(
                f"the daemon did not answer the greeting within {HELLO_PATIENCE:.0f} s"
            ) from error

    async def call(self, request: Request, on_event: OnEvent | None) -> Any:
        self._last_id += 1
        try:
            frame = codec.encode_request(self._last_id, request)
        except WireError as error:
            raise errors.InvalidInput(error.what) from None
        self.usable = False
        try:
            self._writer.write(frame)
            await self._writer.drain()
        except OSError as error:
            raise Lost from error
        while True:
            for payload in await self._receive():
                done, message = answer(payload, self._last_id, request, on_event)
                if done:
                    self.usable = True
                    if isinstance(message, ErrorInfo):
                        raise errors.from_info(message)
                    return message

    def alive(self) -> bool:
        return not self._stream.at_eof() and not self._writer.is_closing()

    def abort(self) -> None:
        self.usable = False
        self._writer.transport.abort()

    async def close(self) -> None:
        self.usable = False
        self._writer.close()
        with suppress(OSError):  # the daemon was faster
            await self._writer.wait_closed()

    async def _receive(self) -> list[dict[str, Any]]:
        try:
            data = await self._stream.read(_READ)
        except OSError as error:
            raise Lost from error
        if not data:
            raise Lost
        try:
            return self._frames.feed(data)
        except WireError as error:
            raise broken(error) from error


_Loop = asyncio.AbstractEventLoop
_connections: weakref.WeakKeyDictionary[_Loop, dict[tuple[bytes, bool, int], Connection]] = weakref.WeakKeyDictionary()


def connection() -> Connection:
    """Return this event loop's connection to the daemon that the environment names."""
    key = (paths.default_socket(), starting.allowed(), os.getpid())
    mine = _connections.setdefault(asyncio.get_running_loop(), {})
    if key not in mine:
        mine[key] = Connection(*key[:2])
    return mine[key]


class Artifact(ArtifactRecord):
    """A named set of files; the awaited twin of syncd_client.Artifact, which says what each method does."""

    async def add_file(
        self,
        local_path: StrPath,
        name: StrPath | None = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> ArtifactManifestEntry:
        """Add a file; its bytes are pinned when this returns."""
        steps = self._add_file(local_path, name, is_tmp, skip_cache, policy, overwrite)
        return await connection().drive(steps)

    async def add_dir(
        self,
        local_path: StrPath,
        name: StrPath | None = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add everything below a directory."""
        await connection().drive(self._add_dir(local_path, name, skip_cache, policy, merge))

    @asynccontextmanager
    async def new_file(
        self, name: str, mode: str = "x", encoding: str | None = None, policy: str = "mutable"
    ) -> AsyncIterator[IO[Any]]:
        """Open a new file to be written; it is added when the block ends without an exception."""
        self._must_be_free(name, mode)
        staging = (await connection().welcome()).staging
        with NewFile(staging, mode, encoding) as fresh:
            yield fresh.file
            await asyncio.to_thread(fresh.finish)
            await self.add_file(os.fsdecode(fresh.path), name, policy=policy, overwrite="x" not in mode)

    async def wait(self, timeout: float | None = None) -> Artifact:
        """Return when it is committed; WaitTimeoutError after `timeout` seconds."""
        await connection().drive(self._wait(timeout))
        return self

    async def download(
        self,
        root: StrPath | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: StrPath | None = None,
        multipart: bool | None = None,
    ) -> str:
        """Fetch it, verified, and return the directory."""
        steps = self._download(root, allow_missing_references, skip_cache, path_prefix, multipart)
        return await connection().drive(steps)

    async def verify(self, root: StrPath | None = None) -> None:
        """Compare a directory with this version; a difference is a ValueError."""
        await connection().drive(self._verify(root))


class Run(runrecord.RunRecord):
    """One execution that logs and uses artifacts; the awaited twin of syncd_client.Run."""

    async def log_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - W&B's name
        aliases: Iterable[str] | str | None = None,
        tags: Iterable[str] | str | None = None,
        *,
        group: str | bool | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> Artifact:
        """Log an artifact, or a file or directory as one; the upload goes on in the daemon."""
        self._must_run("log_artifact")
        artifact = await self._as_artifact(artifact_or_path, name, type)
        place = self._ranks(artifact, group, rank, world_size)
        return await connection().drive(self._log_artifact(artifact, aliases, tags, place))

    async def upsert_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,  # noqa: A002
        aliases: Iterable[str] | str | None = None,
        distributed_id: str | None = None,
        *,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> Artifact:
        """Contribute this rank's files to one version of all ranks."""
        self._must_run("upsert_artifact")
        artifact = await self._as_artifact(artifact_or_path, name, type)
        return await connection().drive(self._upsert(artifact, aliases, distributed_id, rank, world_size))

    async def finish_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,  # noqa: A002
        aliases: Iterable[str] | str | None = None,
        distributed_id: str | None = None,
        *,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> Artifact:
        """Return an artifact that can be waited for until all ranks have contributed."""
        self._must_run("finish_artifact")
        artifact = await self._as_artifact(artifact_or_path, name, type)
        return await connection().drive(self._finish_upserted(artifact, aliases, distributed_id, rank, world_size))

    async def use_artifact(
        self,
        artifact_or_name: Artifact | str,
        type: str | None = None,  # noqa: A002
        aliases: Iterable[str] | str | None = None,
        use_as: str | None = None,
        *,
        timeout: float | None = None,
    ) -> Artifact:
        """Declare that this run reads an artifact, and return it."""
        self._must_run("use_artifact")
        del use_as
        return await connection().drive(self._use(Artifact, artifact_or_name, type, aliases, timeout))

    async def finish(self, exit_code: int | None = None) -> None:
        """End the run; uploads go on in the daemon."""
        del exit_code
        self._finished = True

    async def _as_artifact(self, given: Artifact | StrPath, name: str | None, kind: str | None) -> Artifact:
        if isinstance(given, Artifact):
            return given
        directory = self._check_path(given)
        artifact = Artifact(name or self._default_name(given), kind or "unspecified")
        await (artifact.add_dir(given) if directory else artifact.add_file(given))
        return artifact

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.finish(0 if error is None else 1)


def init(
    project: str | None = None,
    name: str | None = None,
    id: str | None = None,  # noqa: A002
    job_type: str | None = None,
    group: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Begin a run and return it."""
    return Run(
        project or os.environ.get("SYNCD_PROJECT", ""),
        runs.choose_id(id),
        name or "",
        job_type or "",
        group or "",
        config or {},
    )
