"""A bucket end to end: logged through every fault of a network, read elsewhere, one version each, every byte right."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncd_client.wire import messages as m
from tests.kit.bucket_daemon import bucket_daemon as at
from tests.kit.bucket_daemon import syncd
from tests.kit.daemon import Daemon, until
from tests.kit.fault_proxy import (
    Asked,
    Fault,
    FaultProxy,
    Plan,
    answer,
    cut_reply,
    cut_request,
    fault_proxy,
    lose_reply,
    reset,
    times,
    without_rights,
)  # fmt: skip
from tests.kit.roles import roles
from tests.kit.servers import Server

SIZE = 40_000
NAMES = ("a", "b/c", "b/d")


@pytest.fixture(params=["moto", pytest.param("radosgw", marks=pytest.mark.ceph)])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    with fault_proxy(server.port) as proxy:
        yield proxy


def tree(place: Path, seed: int) -> Path:
    rng = random.Random(seed)
    for name in NAMES:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(rng.randbytes(SIZE))
    return place


def same(one: Path, two: Path) -> bool:
    return all((one / name).read_bytes() == (two / name).read_bytes() for name in NAMES)


def versions(daemon: Daemon, name: str) -> list[int]:
    return [version.version for version in daemon.call(m.ListVersions(name)).versions]


FAULTS = {
    "the reply is lost after the store stored": lose_reply(),
    "an error after the store stored": answer(500, "InternalError", done=True),
    "the connection resets": reset(),
    "the request is cut off": cut_request(1000),
    "the answer is cut off": cut_reply(300),
    "slow pieces": Fault(piece=100),
    "503": answer(503, "SlowDown"),
    "429": answer(429),
    "409": answer(409, "ConditionalRequestConflict"),
}


def every(count: int, fault: Fault) -> Plan:
    """Each `count`-th request that moves an object goes wrong, the first included."""
    return lambda asked: fault if asked.method in ("PUT", "GET", "HEAD") and asked.number % count == 1 else None


@pytest.mark.parametrize("fault", list(FAULTS))
def test_through_every_fault_one_version_arrives_whole(
    tmp_path: Path, server: Server, proxy: FaultProxy, fault: str, request: pytest.FixtureRequest
) -> None:
    prefix = f"faults{abs(hash(request.node.name)) % 10**9}"
    data = tree(tmp_path / "data", 1)
    with at(tmp_path / "one", server, server.url("bucket", prefix, proxy.endpoint)) as one:
        proxy.plan = every(4, FAULTS[fault])
        (job,) = one.wait(one.put(data, name="model").job, timeout=100)
        assert job.state == "done", job
        one.get_done("model", tmp_path / "here")
        assert proxy.hurt
        proxy.plan = lambda asked: None
        assert versions(one, "model") == [0]
    assert same(data, tmp_path / "here")
    with at(tmp_path / "two", server, server.url("bucket", prefix)) as two:
        two.get_done("model", tmp_path / "there")
        assert versions(two, "model") == [0]
    assert same(data, tmp_path / "there")


def test_a_commit_whose_reply_is_lost_is_recognised_as_ones_own(tmp_path: Path, moto: Server) -> None:
    """Law L4 on real sockets: every create of a log entry is stored and its reply lost."""
    with (
        fault_proxy(moto.port) as proxy,
        at(tmp_path, moto, moto.url("bucket", "l4", proxy.endpoint)) as one,
    ):
        data = tree(tmp_path / "data", 2)
        lost: list[Asked] = []

        def plan(asked: Asked) -> Fault | None:
            if asked.method != "PUT" or "if-none-match" not in asked.headers or "/log/" not in asked.path:
                return None
            lost.append(asked)
            return lose_reply()

        proxy.plan = plan
        for _ in range(3):
            (data / "a").write_bytes(os.urandom(SIZE))
            one.put_done(data, name="model")
        slots = [re.sub(r"\?.*", "", asked.path) for asked in lost]
        assert len(slots) == len(set(slots)), "a slot was written twice although the first write stood"
        proxy.plan = lambda asked: None
        assert versions(one, "model") == [2, 1, 0]


def test_credentials_renewed_in_the_middle_of_an_upload(tmp_path: Path, moto: Server) -> None:
    with fault_proxy(moto.port) as proxy, roles() as role:
        settings = {"AWS_METADATA_ENDPOINT": role.endpoint, "SYNCD_UPLOAD_CONCURRENCY": "1"}
        bare = replace(moto, environ={})
        packs: list[str] = []

        def plan(asked: Asked) -> Fault | None:
            """From the third pack on the first key is worth nothing, and each later one lasts for four packs."""
            key = re.search(r"ROLE[0-9]+", asked.headers.get("authorization", ""))
            if asked.method == "PUT" and "/packs/" in asked.path and key:
                packs.append(key[0])
                if packs.count(key[0]) > 4:
                    return answer(403, "ExpiredToken")
            return None

        proxy.plan = plan
        url = moto.url("bucket", "renewed", proxy.endpoint)
        with at(tmp_path, bare, url, settings) as one:
            data = tree(tmp_path / "data", 3)
            one.put_done(data, name="model")
            one.get_done("model", tmp_path / "out")
            assert versions(one, "model") == [0]
        assert same(data, tmp_path / "out")
        assert len(role.given) > 2


def test_killed_in_the_middle_it_goes_on(tmp_path: Path, server: Server, proxy: FaultProxy) -> None:
    url = server.url("bucket", f"killed{tmp_path.name[-1]}", proxy.endpoint)
    with at(tmp_path, server, url) as one:
        data = tree(tmp_path / "data", 4)
        proxy.plan = lambda asked: Fault(hold=True) if asked.method == "PUT" and asked.number > 6 else None
        job = one.put(data, name="model")
        until(lambda: proxy.hurt, what="a request that is held")
        one.kill()
        proxy.plan = lambda asked: None
        proxy.let_go()
        one.start()
        (done,) = one.wait(job.job)
        assert done.state == "done", done
        assert versions(one, "model") == [0]
        one.get_done("model", tmp_path / "out")
    assert same(data, tmp_path / "out")


def test_writers_need_neither_delete_nor_list(tmp_path: Path, moto: Server) -> None:
    with fault_proxy(moto.port) as proxy:
        url = moto.url("bucket", "rights", proxy.endpoint)
        with at(tmp_path / "one", moto, url, start=False) as owner:
            assert syncd(owner, "init", url)["verdict"] == "ok"
        proxy.plan = without_rights
        before = len(proxy.of("DELETE"))
        with at(tmp_path / "two", moto, url) as writer:
            data = tree(tmp_path / "data", 5)
            writer.put_done(data, name="model")
            writer.get_done("model", tmp_path / "out")
            assert versions(writer, "model") == [0]
            assert len(proxy.of("DELETE")) == before
            assert syncd(writer, "check", url)["verdict"] == "upload-only"
        assert same(data, tmp_path / "out")


def test_no_secret_turns_up_anywhere(tmp_path: Path, moto: Server) -> None:
    """Journal, log, settings shown, metrics page, process list: searched for what was in the environment."""
    secrets = {"AWS_SECRET_ACCESS_KEY": "env-SECRET-1", "AWS_SESSION_TOKEN": "env-SECRET-2"}
    web = f"unix:{tmp_path}/web"
    settings = {**secrets, "SYNCD_WEB": web, "SYNCD_LOG_LEVEL": "debug"}
    with fault_proxy(moto.port) as proxy:
        proxy.plan = times(3, "PUT", "", answer(503))
        with at(tmp_path / "n", moto, moto.url("bucket", "secret", proxy.endpoint), settings) as one:
            one.put_done(tree(tmp_path / "data", 6), name="model")
            assert one.process is not None
            seen = Path(f"/proc/{one.process.pid}/cmdline").read_bytes()
            seen += repr(syncd(one, "config", "show")).encode() + repr(syncd(one, "doctor")).encode()
            seen += one.syncctl("status", "--json").stdout.encode() + page(tmp_path / "web")
            one.stop()
        for path in (tmp_path / "n").rglob("*"):
            if path.is_file():
                seen += path.read_bytes()
    assert b"SECRET" not in seen
    assert b"127.0.0.1" in seen


def test_an_address_with_credentials_is_refused_and_not_repeated(tmp_path: Path, moto: Server) -> None:
    with at(tmp_path, moto, "s3://AKIA:url-SECRET@bucket/x", start=False) as one:
        one.start(wait=False)
        assert one.wait_ended() == 2
        assert "SECRET" not in one.log_text()
        assert "credentials never stand in an address" in one.log_text()
        assert "SECRET" not in repr(syncd(one, "config", "show"))
        assert "SECRET" not in repr(syncd(one, "doctor", code=1))


def page(socket: Path) -> bytes:
    """Return the page and the metrics of a daemon's web door."""
    import socket as sockets

    seen = b""
    for path in ("/", "/metrics"):
        with sockets.socket(sockets.AF_UNIX) as door:
            door.connect(str(socket))
            door.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            while chunk := door.recv(65536):
                seen += chunk
    assert b"syncd_" in seen
    return seen
