"""A real daemon in a process of its own, with its web door open on a free port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEADLINE = 40.0


@dataclass
class Daemon:
    process: asyncio.subprocess.Process
    environment: dict[str, str]
    address: str

    async def ctl(self, *arguments: str) -> str:
        """Run syncctl; its output, or AssertionError."""
        call = "import sys; from syncd_client.cli.main import main; sys.exit(main())"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", call, *arguments, env=self.environment, stdout=-1, stderr=-2
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    async def page(self, path: str = "/") -> str:
        return await asyncio.to_thread(_read, self.address + path)

    async def kill(self) -> None:
        """SIGKILL, seen to its end."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@asynccontextmanager
async def running_daemon(base: Path, **settings: str) -> AsyncIterator[Daemon]:
    """Start a daemon on `base` and wait until its door answers; killed at the end."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(base),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}",
        "SYNCD_STATE_DIR": str(base / "state"),
        "SYNCD_CACHE_DIR": str(base / "cache"),
        "SYNCD_SOCKET": str(base / "s"),
        "SYNCD_WEB": f"127.0.0.1:{port}",
        "SYNCD_AUTOSTART": "0",
    } | settings
    with open(base / "log", "ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "syncd", "serve", env=environment, stdout=log, stderr=log, cwd=base
        )
    daemon = Daemon(process, environment, f"http://127.0.0.1:{port}")
    try:
        await until(lambda: _answers(daemon), (base / "log").read_text)
        yield daemon
    finally:
        await daemon.kill()


async def until(holds: Callable[[], object], why: Callable[[], str] = lambda: "") -> None:
    """Return once `holds()` (awaited if it must be) is true; fail at the deadline."""
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                answer = holds()
                if await answer if asyncio.iscoroutine(answer) else answer:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE} s: {why()}") from None


async def _answers(daemon: Daemon) -> bool:
    assert daemon.process.returncode is None, "the daemon ended"
    try:
        return await daemon.page("/readyz") == "ok\n"
    except OSError:
        return False


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()
