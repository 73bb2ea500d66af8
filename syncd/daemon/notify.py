"""What the daemon tells systemd, and when it may say that it is alive.

The protocol is one datagram of `KEY=value` lines to $NOTIFY_SOCKET; without that variable every call does nothing.
The watchdog tells the truth: it pings only while everything that must answer (the journal's lane, the lease watcher)
has answered lately, and since the pings come from the loop itself, a loop that hangs goes silent too.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping

from syncd.clock import Clock

Probe = Callable[[], Awaitable[object]]


class Notifier:
    """Sends notifications.

    Args:
        address: $NOTIFY_SOCKET: a path, or `@name` for the abstract namespace; "" when nobody listens.
    """

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def send(self, *lines: str) -> bool:
        """Send lines as one datagram; whether somebody took it. Never blocks, never raises: telling is not the work."""
        if not self._address:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
            try:
                out.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return False
        return True

    def ready(self, status: str = "") -> bool:
        """Clients are served from now on."""
        return self.send("READY=1", *_status(status))

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self.send(*_status(text))

    def alive(self) -> bool:
        """Ping the watchdog."""
        return self.send("WATCHDOG=1")

    def stopping(self, status: str = "") -> bool:
        """The daemon drains and ends."""
        return self.send("STOPPING=1", *_status(status))


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={text.replace(chr(10), ' ')}",) if text else ()


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return how often systemd wants to hear from this process at least, None when it does not."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() and int(text) > 0 else None


def silent(answers: Mapping[str, float], now: float, limit: float) -> tuple[str, ...]:
    """Return the names whose last answer is more than `limit` seconds old: while there is one, no ping may go out."""
    return tuple(sorted(name for name, last in answers.items() if now - last > limit))


class Watchdog:
    """Pings systemd while the daemon is truly alive.

    Args:
        notifier: where pings go.
        clock: time.
        interval: seconds systemd waits before it kills (`watchdog_seconds`).
        probes: what must answer, by name; each is asked again and again, and returning is the answer.
    """

    def __init__(self, notifier: Notifier, clock: Clock, interval: float, probes: Mapping[str, Probe]) -> None:
        self._notifier = notifier
        self._clock = clock
        self._pause = interval / 3
        self._limit = interval * 2 / 3
        self._probes = dict(probes)
        self._answers = dict.fromkeys(probes, clock.monotonic())

    async def run(self) -> None:
        """Ask and ping until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, probe in self._probes.items():
                group.create_task(self._ask(name, probe), name=f"watchdog-{name}")
            while True:
                self.beat()
                await self._clock.sleep(self._pause)

    def beat(self) -> tuple[str, ...]:
        """Ping once if everything answered lately; return the names that did not."""
        quiet = silent(self._answers, self._clock.monotonic(), self._limit)
        if quiet:
            self._notifier.status(f"not answering: {', '.join(quiet)}")
        else:
            self._notifier.alive()
        return quiet

    async def _ask(self, name: str, probe: Probe) -> None:
        while True:
            await probe()
            self._answers[name] = self._clock.monotonic()
            await self._clock.sleep(self._pause)
