"""`python -m tests.kit.entry_fake_gcs PORT`: a FAKE of Google Cloud Storage, for the requests the library makes.

It shows that our side of the conversation is right as far as documents tell; it proves nothing about Google's. No
signatures are checked. Conditions are exact, for one loop serves all.
"""

from __future__ import annotations

import hashlib
import sys
import time
from email.utils import formatdate
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

Stored = tuple[bytes, float]
PAGE = 3


class Fake:
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Stored]] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        bucket, _, key = unquote(request.raw_path.partition("?")[0]).lstrip("/").partition("/")
        objects = self.objects.setdefault(bucket, {})
        if not key:
            return self.list(objects, request.query)
        if request.method == "PUT":
            if request.headers.get("x-goog-if-generation-match") == "0" and key in objects:
                return problem(412, "PreconditionFailed")
            body = await request.read()
            if key in objects and request.headers.get("x-goog-if-generation-match") == "0":
                return problem(412, "PreconditionFailed")
            objects[key] = (body, time.time())
            return web.Response(headers={"ETag": tag(body), "x-goog-generation": "1"})
        if key not in objects:
            return problem(404, "NoSuchKey")
        if request.method == "DELETE":
            del objects[key]
            return web.Response(status=204)
        return read(*objects[key], request.headers.get("Range", ""))

    def list(self, objects: dict[str, Stored], query: object) -> web.Response:
        """Pages of three, newest name first within a page: a list in no order that anybody may rely on."""
        prefix = query.get("prefix", "")  # type: ignore[attr-defined]
        names = sorted(name for name in objects if name.startswith(prefix))
        begin = int(query.get("continuation-token", "0"))  # type: ignore[attr-defined]
        page = names[begin : begin + PAGE][::-1]
        more = begin + PAGE < len(names)
        rows = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>{stamp(objects[name][1])}</LastModified>"
            f"<ETag>{tag(objects[name][0])}</ETag><Size>{len(objects[name][0])}</Size></Contents>"
            for name in page
        )
        token = f"<NextContinuationToken>{begin + PAGE}</NextContinuationToken>" if more else ""
        text = f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
        return web.Response(text=text, content_type="application/xml")


def read(body: bytes, stored: float, span: str) -> web.Response:
    headers = {"ETag": tag(body), "Last-Modified": formatdate(stored, usegmt=True), "x-goog-generation": "1"}
    if not span:
        return web.Response(body=body, headers=headers | {"Content-Length": str(len(body))})
    first, _, last = span.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, len(body) - int(last))
    end = min(len(body), int(last) + 1) if first and last else len(body)
    if start >= len(body):
        return problem(416, "InvalidRange")
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
    return web.Response(status=206, body=body[start:end], headers=headers)


def problem(status: int, code: str) -> web.Response:
    return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")


def tag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


if __name__ == "__main__":
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{rest:.*}", Fake().handle)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
