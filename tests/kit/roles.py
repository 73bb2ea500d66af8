"""Places where machines get temporary credentials from: instance role, container role, web identity. A fake of ours.

Every answer names a new key, `ROLE0`, `ROLE1` ..., so that a test sees who was asked and how often.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAR = "2099-01-01T00:00:00Z"


class Roles:
    def __init__(self, port: int, scheme: str) -> None:
        self.endpoint = f"{scheme}://127.0.0.1:{port}"
        self.given: list[str] = []
        self.token = ""

    def next_key(self, way: str) -> dict[str, str]:
        number = len(self.given)
        self.given.append(way)
        return {
            "AccessKeyId": f"ROLE{number}", "SecretAccessKey": f"role-SECRET-{number}", "Token": "role-SECRET-token",
            "SessionToken": "role-SECRET-token", "Expiration": FAR, "LastUpdated": "2020-01-01T00:00:00Z",
            "Code": "Success", "Type": "AWS-HMAC",
        }  # fmt: skip


@contextmanager
def roles(tls: ssl.SSLContext | None = None) -> Iterator[Roles]:
    """Run the fake until the context is left."""
    found: list[Roles] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.say("token")

        def do_GET(self) -> None:
            if self.path.endswith("/security-credentials/"):
                self.say("the-role")
            elif self.path.startswith("/container"):
                found[0].token = self.headers.get("Authorization", "")
                self.say(json.dumps(found[0].next_key("container")))
            else:
                self.say(json.dumps(found[0].next_key("instance")))

        def do_POST(self) -> None:
            found[0].token = self.path + self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            key = found[0].next_key("web identity")
            names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
            inner = "".join(f"<{name}>{key[name]}</{name}>" for name in names)
            result = (
                f"<AssumeRoleWithWebIdentityResult><Credentials>{inner}</Credentials></AssumeRoleWithWebIdentityResult>"
            )
            self.say(f"<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>")

        def say(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    found.append(Roles(server.server_address[1], "https" if tls else "http"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
