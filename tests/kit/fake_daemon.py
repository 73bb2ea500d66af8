"""A daemon of a hundred lines for the client's tests: the real codec on a real socket, artifacts in memory.

It keeps what each request said (`asked`), and can be told to misbehave: `die_on` closes the connection instead of
answering a verb that many times, `hold` keeps jobs from ending until `release` is called.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

from syncd_client.wire import codec
from syncd_client.wire import messages as m
from syncd_client.wire.errors import WireError
from syncd_client.wire.frames import FrameReader


class Answer(Exception):
    def __init__(self, code: str, what: str, why: str = "", hint: str = "") -> None:
        self.info = m.ErrorInfo(code, what, why, hint)


class FakeDaemon:
    def __init__(self, path: str, staging: str = "", protocol: int = m.PROTOCOL, pid: int | None = None) -> None:
        self.path, self.staging, self.protocol = path, staging, protocol
        self.pid = os.getpid() if pid is None else pid
        self.asked: list[m.Request] = []
        self.die_on: Counter[str] = Counter()
        self.fail_jobs_with: m.ErrorInfo | None = None
        self._free = threading.Event()
        self._free.set()
        self._lock = threading.RLock()
        self.shut_down = threading.Event()
        self._ended = threading.Condition(self._lock)
        self._drafts: dict[str, dict[bytes, tuple[bytes, os.stat_result]]] = {}
        self._jobs: dict[str, m.JobInfo] = {}
        self._of_draft: dict[str, m.JobInfo] = {}
        self._versions: dict[tuple[str, str], list[tuple[m.VersionInfo, dict[bytes, bytes]]]] = {}
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.accepted = 0
        self._listener: socket.socket | None = None
        self.start()

    # --- its life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        self._spawn(self._accept, self._listener)

    def stop(self) -> None:
        """Vanish as if killed; what was promised is kept for the next start."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with suppress(FileNotFoundError):  # a test may have removed the whole directory by now
            os.unlink(self.path)
        listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._connections):
            with suppress(OSError):  # its client was faster
                connection.shutdown(socket.SHUT_RDWR)
        self._free.set()
        for thread in list(self._threads):
            thread.join(10)
        listener.close()

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def ops(self) -> list[str]:
        return [request.op for request in self.asked if request.op != "hello"]

    def _spawn(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.add(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        reader = FrameReader()
        with connection:
            try:
                while data := connection.recv(1 << 16):
                    for payload in reader.feed(data):
                        if not self._answer(connection, payload):
                            return
            except OSError:
                pass
            finally:
                self._connections.discard(connection)

    def _answer(self, connection: socket.socket, payload: dict[str, Any]) -> bool:
        try:
            number, request = codec.decode_client_frame(payload)
        except WireError as error:
            connection.sendall(codec.encode_error(error.request or 0, m.ErrorInfo(error.code, error.what)))
            return not error.fatal
        with self._lock:
            self.asked.append(request)
            if self.die_on[request.op] > 0:
                self.die_on[request.op] -= 1
                return False
        verb = getattr(self, f"_{request.op}")
        tell = lambda job: connection.sendall(codec.encode_event(number, "job", job))  # noqa: E731
        try:
            reply = verb(request, tell) if request.op in ("wait", "use") else verb(request)
        except Answer as answer:
            connection.sendall(codec.encode_error(number, answer.info))
        else:
            connection.sendall(codec.encode_reply(number, reply))
            if request.op == "shutdown":
                self.shut_down.set()
        return True

    # --- its verbs --------------------------------------------------------------------------------------------

    def _hello(self, _: m.Request) -> m.Welcome:
        return m.Welcome(
            self.protocol, "0.0", [], self.pid, "node", "uncategorized", "memory:", os.fsencode(self.staging)
        )

    _ping = _hello

    def _add_file(self, request: m.AddFile) -> m.Receipt:
        seen = os.stat(request.path)
        if (seen.st_dev, seen.st_ino, seen.st_size) != (request.dev, request.ino, request.size):
            raise Answer("conflict", "another file there")
        self._put(request.draft, request.name, request.path, request.overwrite)
        return m.Receipt(1, seen.st_size, 1, {"copy": 1}, ["gap"])

    def _add_dir(self, request: m.AddDir) -> m.Receipt:
        size = count = 0
        for folder, _, names in os.walk(request.path):
            for name in names:
                path = os.path.join(folder, name)
                inside = os.path.join(request.name, os.path.relpath(path, request.path))
                self._put(request.draft, inside, path, request.merge)
                size, count = size + os.path.getsize(path), count + 1
        return m.Receipt(count, size, count, {"copy": count})

    def _put(self, draft: str, name: bytes, path: bytes, overwrite: bool) -> None:
        seen = os.stat(path)
        with self._lock:
            held = self._drafts.setdefault(draft, {})
            if name in held and not overwrite and held[name][1].st_ino != seen.st_ino:
                raise Answer("conflict", f"Cannot add the same path twice: {os.fsdecode(name)!r}")
            with open(path, "rb") as file:
                held[name] = (file.read(), seen)

    def _drop_draft(self, request: m.DropDraft) -> m.Done:
        self._drafts.pop(request.draft, None)
        return m.Done()

    def _log(self, request: m.Log) -> m.JobInfo:
        with self._lock:
            if request.draft in self._of_draft:
                return self._of_draft[request.draft]
            content = {name: data for name, (data, _) in self._drafts.pop(request.draft, {}).items()}
            job = m.JobInfo(
                f"job{len(self._jobs)}", "upload", "sending", request.project or "uncategorized", request.name,
                request.type, bytes_total=sum(map(len, content.values())), files_total=len(content),
            )  # fmt: skip
            self._jobs[job.job] = self._of_draft[request.draft] = job
        self._spawn(self._commit, job, request, content)
        return job

    def _commit(self, job: m.JobInfo, request: m.Log, content: dict[bytes, bytes]) -> None:
        self._free.wait(30)
        with self._lock:
            if self.fail_jobs_with:
                self._jobs[job.job] = m.JobInfo(job.job, "upload", "failed", error=self.fail_jobs_with)
                self._ended.notify_all()
                return
            line = self._versions.setdefault((job.project, job.name), [])
            for _, (before, _) in enumerate(line):
                before.aliases[:] = [a for a in before.aliases if a not in (*request.aliases, "latest")]
            made = m.VersionInfo(
                job.project, job.name, job.type, len(line), "d" * 64, aliases=["latest", *request.aliases],
                tags=request.tags, metadata=request.metadata, description=request.description,
                size=job.bytes_total, files=len(content), run=request.run.id if request.run else "",
            )  # fmt: skip
            line.append((made, content))
            self._jobs[job.job] = m.JobInfo(
                job.job, "upload", "done", job.project, job.name, job.type, made.version, digest=made.digest,
                bytes_total=job.bytes_total, files_total=job.files_total,
            )  # fmt: skip
            self._ended.notify_all()

    def _wait(self, request: m.Wait, tell: Any) -> m.Waited:
        for name in request.jobs:
            tell(self._jobs[name])
        with self._ended:
            ended = lambda: all(self._jobs[name].state != "sending" for name in request.jobs)  # noqa: E731
            if not self._ended.wait_for(ended, 30 if request.timeout is None else request.timeout):
                raise Answer("timeout", "still uploading")
        return m.Waited([self._jobs[name] for name in request.jobs])

    def _find(self, project: str, name: str, ref: str) -> tuple[m.VersionInfo, dict[bytes, bytes]]:
        for version, content in self._versions.get((project or "uncategorized", name), []):
            if ref in (f"v{version.version}", *version.aliases):
                return version, content
        raise Answer("not_found", f"no {name}:{ref}")

    def _show(self, request: m.Show) -> m.VersionInfo:
        return self._find(request.project, request.name, request.ref)[0]

    def _use(self, request: m.Use, tell: Any) -> m.VersionInfo:
        pending = [one.job for one in self._jobs.values() if one.name == request.name and one.state == "sending"]
        self._wait(m.Wait(pending, request.timeout), tell)
        version = self._find(request.project, request.name, request.ref)[0]
        if request.type and request.type != version.type:
            raise Answer("conflict", f"Supplied type {request.type} does not match type {version.type}")
        return version

    def _get(self, request: m.Get) -> m.JobInfo:
        _, content = self._find(request.project, request.name, request.ref)
        for path, data in content.items():
            place = os.path.join(request.root, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as file:
                file.write(data)
        job = m.JobInfo(f"job{len(self._jobs)}", "download", "done", root=request.root)
        self._jobs[job.job] = job
        return job

    def _verify(self, request: m.Verify) -> m.VerifyReport:
        version, content = self._find(request.project, request.name, request.ref)
        problems = []
        for path, data in content.items():
            place = os.path.join(request.root, path)
            if not os.path.exists(place) or _read(place) != data:
                problems.append(f"{os.fsdecode(path)}: other bytes")
        return m.VerifyReport(version, len(content), version.size, problems)

    def _shutdown(self, _: m.Shutdown) -> m.Done:
        return m.Done()


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
