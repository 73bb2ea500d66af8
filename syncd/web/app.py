"""The door itself: whom it answers, and what it says about itself."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from importlib import resources

from aiohttp import web

from syncd import sockets
from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.meter import Meter
from syncd.model.views import ArtifactView, ErrorView
from syncd.web.facts import Facts
from syncd.web.guests import Reception
from syncd.web.listen import LOOPBACK, WebParams, listen
from syncd.web.metrics import CONTENT_TYPE, render
from syncd.web.pages import STYLESHEET, page

JOBS_SHOWN = 50
JOBS_COUNTED = 1000
ARTIFACTS_SHOWN = 100
ANSWER_SECONDS = 5.0
ARTIFACTS_KEPT_SECONDS = 10.0
_BACKLOG = 64

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
        self._listening: asyncio.Server | None = None
        self._hosts: frozenset[str] | None = None
        self._socket_id: tuple[int, int] | None = None
        self._told: tuple[list[ArtifactView], ErrorView | None] | None = None
        self._told_at = 0.0
        self._style = resources.files(__package__).joinpath("static", "page.css").read_text(encoding="utf-8")
        self.address = ""
        """Where it answers: `http://127.0.0.1:PORT` or `unix:PATH`; empty while shut."""

    async def start(self) -> None:
        """Listen, if the params name a place; raises as `listen.listen` says."""
        if not self._params.enabled:
            return
        listener = listen(self._params)
        self._runner = web.AppRunner(self._app(), handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        assert self._runner.server is not None
        reception = Reception(self._runner.server, self._params.connections, self._params.patience, self._clock)
        self._listening = await asyncio.get_running_loop().create_server(reception, sock=listener, backlog=_BACKLOG)
        if listener.family == socket.AF_UNIX:
            self._socket_id = sockets.identity(os.fsencode(self._params.socket))
            self.address = f"unix:{self._params.socket}"
        else:
            port = listener.getsockname()[1]
            self._hosts = _our_names(port)
            self.address = f"http://{LOOPBACK}:{port}"

    async def close(self) -> None:
        """Stop listening; requests under way get a second. May be repeated."""
        runner, self._runner, self.address = self._runner, None, ""
        if self._listening is not None:
            self._listening.close()
        if runner is not None:
            await runner.cleanup()
            sockets.remove(os.fsencode(self._params.socket), self._socket_id)

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
        return _verdict(await self._facts.ready(), "not ready: draining")

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
    response.force_close()  # one request a connection: see guests.py
    response.headers["Connection"] = "close"  # aiohttp has decided about this header by now


def _our_names(port: int) -> frozenset[str]:
    names = ("127.0.0.1", "localhost", "[::1]")
    bare = names if port == 80 else ()  # a browser leaves the default port out
    return frozenset([f"{name}:{port}" for name in names]).union(bare)
