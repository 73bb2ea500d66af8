"""The door itself: where it listens, whom it answers, what it says about itself."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import resources

from aiohttp import web

from syncd.clock import Clock
from syncd.errors import Conflict, InvalidInput, LocalDisk, SyncdError
from syncd.meter import Meter
from syncd.model.views import ArtifactView, ErrorView
from syncd.web.facts import Facts
from syncd.web.metrics import CONTENT_TYPE, render
from syncd.web.pages import STYLESHEET, page

LOOPBACK = "127.0.0.1"
JOBS_SHOWN = 50
JOBS_COUNTED = 1000
ARTIFACTS_SHOWN = 100
ANSWER_SECONDS = 5.0
ARTIFACTS_KEPT_SECONDS = 10.0
SOCKET_PATH_LIMIT = 107

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "syncd",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class WebParams:
    """Where to listen: a port of 127.0.0.1 (0: any free one), or a unix socket's path; neither: the door stays shut."""

    port: int | None = None
    socket: str = ""

    @classmethod
    def at(cls, place: str) -> WebParams:
        """Read a place as the settings have it: "off", "127.0.0.1:PORT" or "unix:/path".

        Raises:
            InvalidInput: it is none of these.
        """
        if place == "off":
            return cls()
        if place.startswith("unix:/"):
            return cls(socket=place.removeprefix("unix:"))
        host, _, port = place.rpartition(":")
        if host in (LOOPBACK, "localhost") and port.isascii() and port.isdigit():
            return cls(port=int(port))
        raise InvalidInput(
            f"the web door cannot listen at {place!r}",
            "it serves this machine alone",
            "say 127.0.0.1:PORT or unix:/path",
        )

    @property
    def enabled(self) -> bool:
        """Whether there is a door at all."""
        return self.port is not None or bool(self.socket)


class WebDoor:
    """Door 2. `start` once, `close` at the end.

    Args:
        params: where to listen.
        facts: what may be asked.
        meter: what was counted.
        clock: ages on the page.
    """

    def __init__(self, params: WebParams, facts: Facts, meter: Meter, clock: Clock) -> None:
        self._params = params
        self._facts = facts
        self._meter = meter
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._hosts: frozenset[str] | None = None
        self._socket_id: tuple[int, int] | None = None
        self._told: tuple[list[ArtifactView], ErrorView | None] | None = None
        self._told_at = 0.0
        self._style = resources.files(__package__).joinpath("static", "page.css").read_text(encoding="utf-8")
        self.address = ""
        """Where it answers: `http://127.0.0.1:PORT` or `unix:PATH`; empty while shut."""

    async def start(self) -> None:
        """Listen, if the params name a place.

        Raises:
            InvalidInput: both a port and a socket, a port that is none, a path that is too long.
            Conflict: the port or socket is in use.
            LocalDisk: the socket cannot be made.
        """
        if not self._params.enabled:
            return
        listener = _listen(self._params)
        self._runner = web.AppRunner(self._app(), access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        if listener.family == socket.AF_UNIX:
            facts = os.stat(self._params.socket)
            self._socket_id = (facts.st_dev, facts.st_ino)
            self.address = f"unix:{self._params.socket}"
        else:
            port = listener.getsockname()[1]
            self._hosts = _our_names(port)
            self.address = f"http://{LOOPBACK}:{port}"

    async def close(self) -> None:
        """Stop listening; requests under way get a second. May be repeated."""
        runner, self._runner, self.address = self._runner, None, ""
        if runner is not None:
            await runner.cleanup()
            _remove_socket(self._params.socket, self._socket_id)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/", self._page)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get(STYLESHEET, self._stylesheet)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        # Browsers reach no unix socket, so there its name does not matter.
        if self._hosts is not None and (len(hosts) != 1 or hosts[0].lower() not in self._hosts):
            raise web.HTTPForbidden(text="forbidden: the Host header does not name this daemon\nuse http://127.0.0.1\n")
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"], text="read-only: GET and HEAD\n")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await handler(request)
        except SyncdError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        except TimeoutError as error:
            raise web.HTTPServiceUnavailable(text=f"no answer within {ANSWER_SECONDS:g} s\n") from error

    async def _page(self, _request: web.Request) -> web.Response:
        status = await self._facts.status()
        jobs = await self._facts.listed_jobs(JOBS_SHOWN)
        artifacts, problem = await self._artifacts()
        body = page(status, jobs, artifacts, problem, self._clock.now())
        return web.Response(text=body, content_type="text/html", charset="utf-8")

    async def _artifacts(self) -> tuple[list[ArtifactView], ErrorView | None]:
        """The remote is asked seldom, however many pages refresh themselves; a slow one does not cost the page."""
        now = self._clock.monotonic()
        if self._told is None or now - self._told_at >= ARTIFACTS_KEPT_SECONDS:
            self._told, self._told_at = await self._ask_artifacts(), now
        return self._told

    async def _ask_artifacts(self) -> tuple[list[ArtifactView], ErrorView | None]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS / 2):
                return await self._facts.listed_artifacts(ARTIFACTS_SHOWN), None
        except SyncdError as error:
            return [], ErrorView(error.code, error.what, error.why, error.hint, error.retry)
        except TimeoutError:
            return [], ErrorView("timeout", "the artifacts cannot be listed now", "the remote answers too slowly")

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _verdict(await self._facts.alive(), "the journal does not answer")

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _verdict(await self._facts.ready(), "not ready: starting or draining")

    async def _metrics(self, _request: web.Request) -> web.Response:
        status = await self._facts.status()
        jobs = await self._facts.listed_jobs(JOBS_COUNTED)
        body = render(self._meter.snapshot(), status, jobs, self._clock.now())
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _stylesheet(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._style, content_type="text/css", charset="utf-8")


def _verdict(good: bool, words: str) -> web.Response:
    return web.Response(text="ok\n") if good else web.Response(text=f"{words}\n", status=503)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)


def _our_names(port: int) -> frozenset[str]:
    names = ("127.0.0.1", "localhost", "[::1]")
    bare = names if port == 80 else ()  # a browser leaves the default port out
    return frozenset([f"{name}:{port}" for name in names]).union(bare)


def _listen(params: WebParams) -> socket.socket:
    if params.port is not None and params.socket:
        raise InvalidInput("the web door has both a port and a socket", "it is one door", "choose one")
    if params.port is None:
        return _listen_unix(params.socket)
    if not 0 <= params.port <= 65535:
        raise InvalidInput(f"invalid web port: {params.port}", "ports are 1 to 65535, 0 for any free one")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, params.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"web port {params.port} is in use", "another program listens there", "choose another"
            ) from error
        raise InvalidInput(f"cannot listen on web port {params.port}", str(error), "choose another port") from error
    return listener


def _listen_unix(path: str) -> socket.socket:
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        raise InvalidInput(f"the web socket's path is too long: {path}", f"at most {SOCKET_PATH_LIMIT} bytes")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_stale(path)
        before = os.umask(0o177)  # the socket must never be there with a wider mode, not even for a moment
        try:
            listener.bind(path)
        finally:
            os.umask(before)
    except OSError as error:
        listener.close()
        raise LocalDisk(f"cannot make the web socket {path}", str(error), "check its directory") from error
    except SyncdError:
        listener.close()
        raise
    return listener


def _clear_stale(path: str) -> None:
    """Remove a socket nobody listens on any more; anything else under that name is somebody's."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise Conflict(f"there is a file in the web socket's place: {path}", "it is no socket", "choose another path")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as trial:
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise Conflict(f"the web socket is in use: {path}", "another program listens there", "choose another path")


def _remove_socket(path: str, identity: tuple[int, int] | None) -> None:
    if identity is None:
        return
    try:
        facts = os.lstat(path)
        if (facts.st_dev, facts.st_ino) == identity:
            os.unlink(path)
    except FileNotFoundError:
        return
