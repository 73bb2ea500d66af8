"""The real daemon's door."""

import os

from tests.kit.browser import browse, needs_chromium
from tests.kit.doors_daemon import running_daemon, until


@needs_chromium
async def test_a_browser_shows_an_upload_the_daemon_is_running(tmp_path):
    data = tmp_path / "weights.bin"
    data.write_bytes(os.urandom(24 << 20))
    async with running_daemon(tmp_path, SYNCD_BANDWIDTH="1MiB") as daemon:
        await daemon.ctl("put", str(data), "--name", "resnet", "--type", "model", "--no-wait")
        await until(lambda: shows(daemon, '<span class="state sending">'))
        dom = await browse(tmp_path / "profile", "--dump-dom", daemon.address + "/")
        assert '<span class="state sending">sending</span>' in dom
        assert "<b>resnet</b>" in dom
        assert "of 24.0 MiB" in dom
        metrics = await daemon.page("/metrics")
        assert 'syncd_queue_jobs{state="sending"} 1.0' in metrics
        assert await daemon.page("/healthz") == "ok\n"


async def shows(daemon, words):
    return words in await daemon.page()
