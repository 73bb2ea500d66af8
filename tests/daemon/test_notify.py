"""What systemd hears, and that the watchdog never says "alive" for a daemon that is not."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.daemon.notify import Notifier, Watchdog, silent, watchdog_seconds
from tests.kit.clocks import ManualClock


class Ear:
    """A datagram socket as systemd's end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Return the datagrams that have come, in order."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@syncd-test-{os.getpid()}-{tmp_path.name}"


@pytest.fixture
def ear(address: str) -> Iterator[Ear]:
    found = Ear(address)
    yield found
    found.socket.close()


def test_every_notification_is_one_datagram_in_systemds_words(address: str, ear: Ear) -> None:
    notifier = Notifier(address)
    assert notifier.ready("serving")
    notifier.status("2 uploading\n14 GiB queued")
    notifier.alive()
    notifier.stopping("draining")
    assert ear.heard() == [
        "READY=1\nSTATUS=serving",
        "STATUS=2 uploading 14 GiB queued",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=draining",
    ]


def test_without_systemd_nothing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    assert not Notifier("").ready()
    assert not Notifier(str(tmp_path / "gone")).ready()


def test_a_listener_that_does_not_read_never_blocks_the_daemon(address: str, ear: Ear) -> None:
    notifier = Notifier(address)
    told = [notifier.status("x" * 100) for _ in range(5000)]
    assert told[0]
    assert not told[-1]


def test_the_watchdog_interval_counts_only_for_the_process_it_names() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 7) == 30
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000"}, 7) == 30
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 7) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "0"}, 7) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "soon"}, 7) is None
    assert watchdog_seconds({}, 7) is None


def test_who_has_not_answered_within_the_limit_is_silent() -> None:
    assert silent({"journal": 90.0, "leases": 79.9}, 100.0, 20.0) == ("leases",)
    assert silent({}, 100.0, 20.0) == ()


async def test_pings_go_out_while_everything_answers(address: str, ear: Ear) -> None:
    clock = ManualClock()

    async def answers() -> None:
        return None

    watchdog = Watchdog(Notifier(address), clock, 30.0, {"journal": answers})
    task = asyncio.get_running_loop().create_task(watchdog.run())
    for _ in range(10):
        await clock.sleeping(2)
        clock.advance(10.0)
    await clock.sleeping(2)
    assert ear.heard() == ["WATCHDOG=1"] * 11
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_pings_end_when_one_stops_answering_and_come_back_when_it_answers(address: str, ear: Ear) -> None:
    clock = ManualClock()
    gate = asyncio.Event()
    gate.set()

    async def answers() -> None:
        return None

    async def hangs() -> None:
        await gate.wait()

    watchdog = Watchdog(Notifier(address), clock, 30.0, {"leases": answers, "journal": hangs})
    task = asyncio.get_running_loop().create_task(watchdog.run())
    await clock.sleeping(3)
    gate.clear()
    clock.advance(10.0)
    await clock.sleeping(2)
    ear.heard()
    for _ in range(2):
        clock.advance(10.0)
        await clock.sleeping(2)
    assert ear.heard()[-1] == "STATUS=not answering: journal"
    gate.set()
    await clock.sleeping(3)
    clock.advance(10.0)
    await clock.sleeping(3)
    assert ear.heard()[-1] == "WATCHDOG=1"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
