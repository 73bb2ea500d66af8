"""A real browser shows the page (Debian's chromium)."""

import asyncio
import os
import shutil

import pytest

from tests.kit.web_kit import busy_facts, open_door

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


async def browse(profile, *arguments):
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={profile}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(profile)},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    except TimeoutError:
        os.killpg(process.pid, 9)
        await process.wait()
        raise
    return out.decode()


@needs_chromium
async def test_a_browser_shows_a_running_upload(tmp_path):
    async with open_door(busy_facts()) as door:
        dom = await browse(tmp_path / "profile", "--dump-dom", door.address + "/")
    assert "<title>syncd</title>" in dom
    assert '<span class="state sending">sending</span>' in dom
    assert "vision/<b>resnet</b>" in dom
    assert "43% · 450.0 MiB of 1.0 GiB" in dom
    assert "was rewritten while the daemon was down" in dom


@needs_chromium
async def test_a_browser_can_make_a_picture_of_it(tmp_path):
    picture = tmp_path / "page.png"
    async with open_door(busy_facts()) as door:
        await browse(
            tmp_path / "profile",
            f"--screenshot={picture}",
            "--window-size=1200,1000",
            "--hide-scrollbars",
            door.address,
        )
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000  # styled text, not a blank sheet
