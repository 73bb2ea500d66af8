import os
import socket
import stat

import pytest

from syncd.errors import Conflict, InvalidInput, LocalDisk, RemoteUnavailable
from syncd.web import WebParams
from tests.kit.web_kit import FixedClock, MadeUpFacts, busy_facts, get, open_door, request


async def test_it_is_off_unless_asked_for():
    async with open_door(MadeUpFacts(), WebParams()) as door:
        assert door.address == ""


async def test_it_listens_on_this_machine_only():
    async with open_door(MadeUpFacts()) as door:
        assert door.address.startswith("http://127.0.0.1:")


def test_places_are_read_as_the_settings_have_them():
    assert not WebParams.at("off").enabled
    assert WebParams.at("127.0.0.1:8791") == WebParams(port=8791)
    assert WebParams.at("unix:/run/web.sock") == WebParams(socket="/run/web.sock")
    for place in ("0.0.0.0:80", "8791", "unix:relative", "example.org:80", "127.0.0.1:", "127.0.0.1:x", ""):
        with pytest.raises(InvalidInput):
            WebParams.at(place)


async def test_healthz_and_readyz_say_what_the_service_says():
    facts = MadeUpFacts()
    async with open_door(facts) as door:
        assert (await get(door, "/healthz"))[0] == 200
        assert (await get(door, "/readyz"))[0] == 200
        facts.is_alive = facts.is_ready = False
        status, _, body = await get(door, "/healthz")
        assert (status, body) == (503, "the journal does not answer\n")
        assert (await get(door, "/readyz"))[0] == 503


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT", "[::1]:PORT"])
async def test_it_answers_to_its_own_names(host):
    async with open_door(MadeUpFacts()) as door:
        assert (await request(door, f"GET /healthz HTTP/1.1\nHost: {host}"))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:PORT",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost.evil.example:PORT",
        "127.0.0.1:PORT\nHost: evil.example",
        "",
        "127.0.0.1:PORT.evil.example",
    ],
)
@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/static/page.css", "/nothing"])
async def test_a_foreign_host_header_gets_nothing(host, path):
    async with open_door(MadeUpFacts()) as door:
        status, _, body = await request(door, f"GET {path} HTTP/1.1\nHost: {host}")
        assert status in (400, 403)
        assert "resnet" not in body
        assert "syncd_" not in body


async def test_a_request_without_host_gets_nothing():
    async with open_door(MadeUpFacts()) as door:
        assert (await request(door, "GET / HTTP/1.0\nX-Other: 1"))[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing"])
async def test_only_reading_is_possible(method, path):
    async with open_door(MadeUpFacts()) as door:
        status, headers, _ = await request(door, f"{method} {path} HTTP/1.1\nHost: localhost:PORT")
        assert status == 405
        assert headers["allow"] == "GET,HEAD"


async def test_head_is_get_without_the_body():
    async with open_door(MadeUpFacts()) as door:
        status, headers, body = await request(door, "HEAD / HTTP/1.1\nHost: localhost:PORT")
        assert (status, body) == (200, "")
        assert int(headers["content-length"]) > 1000


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/static/page.css", "/nothing", "/static/../app.py"])
async def test_every_answer_forbids_what_a_browser_need_not_do(path):
    async with open_door(MadeUpFacts()) as door:
        _, headers, _ = await get(door, path)
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
        assert "script" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["server"] == "syncd"


async def test_nothing_else_is_served():
    async with open_door(MadeUpFacts()) as door:
        for path in ("/nothing", "/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/static/page.css/x"):
            assert (await get(door, path))[0] == 404


async def test_an_unreachable_remote_is_told_on_the_page_and_the_jobs_stay_visible():
    facts = MadeUpFacts(trouble=RemoteUnavailable("the remote <gone> does not answer", "timed out", "check the mount"))
    async with open_door(facts) as door:
        status, _, body = await get(door)
        assert status == 200
        assert "the remote &lt;gone&gt; does not answer" in body
        assert "resnet" in body


async def test_a_page_left_open_does_not_ask_the_remote_each_time():
    facts, clock = MadeUpFacts(), FixedClock()
    async with open_door(facts, clock=clock) as door:
        for _ in range(3):
            await get(door)
        assert facts.asked == 1
        clock.passed += 11
        await get(door)
        assert facts.asked == 2


async def test_a_service_that_cannot_answer_is_503_in_words(monkeypatch):
    facts = MadeUpFacts()

    async def fail():
        raise LocalDisk("the journal cannot be written", "disk full", "free space")

    monkeypatch.setattr(facts, "status", fail)
    async with open_door(facts) as door:
        status, _, body = await get(door, "/metrics")
        assert status == 503
        assert "free space" in body


async def test_a_unix_socket_is_the_owners_alone_and_goes_with_the_door(tmp_path):
    path = str(tmp_path / "web.sock")
    async with open_door(busy_facts(), WebParams(socket=path)) as door:
        assert door.address == f"unix:{path}"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert (await request(door, "GET / HTTP/1.1\nHost: anything"))[0] == 200
        with pytest.raises(Conflict, match="in use"):
            async with open_door(MadeUpFacts(), WebParams(socket=path)):
                pass
    assert not os.path.exists(path)


async def test_a_stale_socket_is_replaced_and_a_file_is_not(tmp_path):
    path = str(tmp_path / "web.sock")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
    async with open_door(MadeUpFacts(), WebParams(socket=path)) as door:
        assert (await get(door, "/healthz"))[0] == 200
    (tmp_path / "file").write_text("precious")
    with pytest.raises(Conflict):
        async with open_door(MadeUpFacts(), WebParams(socket=str(tmp_path / "file"))):
            pass
    assert (tmp_path / "file").read_text() == "precious"


async def test_places_where_it_cannot_listen_are_typed_errors(tmp_path):
    async with open_door(MadeUpFacts()) as door:
        port = int(door.address.rsplit(":", 1)[1])
        for params, error in (
            (WebParams(port=port), Conflict),
            (WebParams(port=70000), InvalidInput),
            (WebParams(port=0, socket="/x"), InvalidInput),
            (WebParams(socket="/" + "x" * 200), InvalidInput),
            (WebParams(socket=str(tmp_path / "none" / "s")), LocalDisk),
        ):
            with pytest.raises(error):
                async with open_door(MadeUpFacts(), params):
                    pass
