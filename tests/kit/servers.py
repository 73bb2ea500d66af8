"""Servers of other people that tests talk to: processes on loopback, on free ports, ended always.

with moto() as server:
    server.make_bucket("bucket")
    server.url("bucket", "prefix")      # what SYNCD_REMOTE takes
    server.environ                 # the credentials it wants
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

from tests.kit.daemon import ROOT, until

START_SECONDS = 60.0
BUCKET = "bucket"
KEY, SECRET = "syncdkey", "syncdsecret"
NPM = {"azurite": "azurite@3.35", "s3rver": "s3rver@3.7.1"}


@dataclass(frozen=True)
class Server:
    """One running server.

    Attributes:
        kind: of address: s3, gs or az.
        port: on 127.0.0.1.
        environ: variables that hold its credentials.
        options: further options of an address.
    """

    kind: str
    port: int
    environ: Mapping[str, str]
    options: str = ""
    path: str = ""
    pid: int = field(default=0, compare=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def url(self, bucket: str, prefix: str = "", endpoint: str = "") -> str:
        """Return an address in this server; `endpoint` when something stands in between."""
        place = f"{self.kind}://{bucket}" + (f"/{prefix}" if prefix else "")
        return f"{place}?endpoint={endpoint or self.endpoint}{self.options}"

    def make_bucket(self, name: str) -> None:
        """Make a bucket; one that is there already is fine."""
        if self.kind == "s3":
            boto = self.boto()
            with suppress(boto.exceptions.BucketAlreadyOwnedByYou):
                boto.create_bucket(Bucket=name)
        elif self.kind == "az":
            make_container(self, name)

    def boto(self, key: str = "", secret: str = "", token: str | None = None) -> Any:
        """Return boto3's client: what others would see."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=key or self.environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret or self.environ["AWS_SECRET_ACCESS_KEY"], aws_session_token=token,
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )  # fmt: skip


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(argv: Sequence[str], port: int, environ: Mapping[str, str] | None = None, cwd: str = "/") -> Iterator[int]:
    """Run a server until the context is left; entered when it accepts connections. Gives its process id."""
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cwd, env={**os.environ, **(environ or {})},
            start_new_session=True,
        )  # fmt: skip
        try:

            def accepts() -> bool:
                assert child.poll() is None, _said(log, argv)
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    return True
                return False

            until(accepts, START_SECONDS, f"an answer of {argv[0]}")
            yield child.pid
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _said(log: Any, argv: Sequence[str]) -> str:
    log.seek(0)
    return f"{argv} ended: {log.read()[-2000:]!r}"


@contextmanager
def moto() -> Iterator[Server]:
    """moto, an imitation of S3 in Python: good for the verbs, no evidence about races."""
    port = free_port()
    with process([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port) as pid:
        yield Server("s3", port, _keys(KEY, SECRET), "&region=us-east-1", pid=pid)


@contextmanager
def fake_gcs() -> Iterator[Server]:
    """A fake of ours that speaks as much of Google's XML interface as the library uses."""
    port = free_port()
    with process([sys.executable, "-m", "tests.kit.entry_fake_gcs", str(port)], port, cwd=str(ROOT)) as pid:
        account = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        account["gcs_base_url"] = f"http://127.0.0.1:{port}"
        yield Server("gs", port, {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account)}, pid=pid)


@contextmanager
def azurite() -> Iterator[Server]:
    """azurite, Microsoft's own imitation of Azure Blob Storage."""
    import pytest

    port = free_port()
    program = npm_program("azurite", "azurite-blob")
    if not program:
        pytest.skip("no azurite: npm is not here, or cannot install it (apt-get install npm)")
    secret = base64.b64encode(b"a key of our own, not that of the documentation").decode()
    with tempfile.TemporaryDirectory() as place:
        argv = [
            program,
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            str(port),
            "-l",
            place,
            "--silent",
            "--skipApiVersionCheck",
        ]
        with process(argv, port, {"AZURITE_ACCOUNTS": f"syncdtest:{secret}"}) as pid:
            environ = {"AZURE_STORAGE_ACCOUNT_KEY": secret}
            yield Server("az", port, environ, "&account=syncdtest", "/syncdtest", pid=pid)


@contextmanager
def s3rver() -> Iterator[Server]:
    """s3rver, an imitation of S3 that ignores conditions: two writers win there."""
    import pytest

    port = free_port()
    program = npm_program("s3rver", "s3rver")
    if not program:
        pytest.skip("no s3rver: npm is not here, or cannot install it (apt-get install npm)")
    with tempfile.TemporaryDirectory() as place:
        argv = [program, "-d", place, "-a", "127.0.0.1", "-p", str(port), "--configure-bucket", "bucket"]
        with process(argv, port) as pid:
            yield Server("s3", port, _keys("S3RVER", "S3RVER"), "&region=us-east-1", pid=pid)


def npm_program(package: str, program: str) -> str:
    """Return the path of a program that npm installs, installing it once for all; "" where that cannot be done."""
    place = Path(os.environ.get("SYNCD_TEST_NPM") or Path(tempfile.gettempdir()) / f"syncd-npm-{os.getuid()}")
    found = place / "node_modules/.bin" / program
    if not shutil.which("npm"):
        return ""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            argv = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), NPM[package]]
            subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, cwd=place)
    return str(found) if found.exists() else ""


def make_container(server: Server, name: str) -> None:
    """Make a container of Azure's: a request signed by hand, for the library has no verb for it."""
    account = server.path.strip("/")
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = "".join(f"{key}:{value}\n" for key, value in sorted(headers.items()))
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\n{lines}/{account}{server.path}/{name}\nrestype:container"
    secret = base64.b64decode(server.environ["AZURE_STORAGE_ACCOUNT_KEY"])
    signature = base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()
    request = urllib.request.Request(f"{server.endpoint}/{name}?restype=container", method="PUT", headers=headers)
    request.add_header("Authorization", f"SharedKey {account}:{signature}")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        assert error.code == 409, error.read()


def _keys(key: str, secret: str) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
