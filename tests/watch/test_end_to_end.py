"""Watched, on the real daemon: slow writers, rotation, SIGKILL in between."""

import asyncio
import json
import shutil

from tests.kit.doors_daemon import running_daemon, until

PART = 1 << 20
SETTLE = 0.5


async def write_checkpoint(path, step):
    """Three parts into one open file, with pauses longer than the settle time."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"step": step}))
    with open(path / "weights", "wb", buffering=0) as file:
        for part in range(3):
            file.write(bytes([step * 3 + part]) * PART)
            await asyncio.sleep(2 * SETTLE)  # the writer's pause is what is tried here
    return {"config.json": json.dumps({"step": step}).encode(), "weights": (path / "weights").read_bytes()}


async def versions(daemon):
    listed = json.loads(await daemon.ctl("ls", "ckpt", "--json"))
    return listed["versions"] if isinstance(listed, dict) else listed


async def test_every_checkpoint_is_one_whole_version_also_across_a_kill(tmp_path):
    watched = tmp_path / "watched"
    watched.mkdir()
    written = []
    async with running_daemon(tmp_path) as daemon:
        await daemon.ctl("watch", "add", str(watched), "--name", "ckpt", "--type", "model", "--settle", str(SETTLE))
        written.append(await write_checkpoint(watched / "step0", 0))
        await until(lambda: has(daemon, 1))
        shutil.rmtree(watched / "step0")
        writing = asyncio.ensure_future(write_checkpoint(watched / "step1", 1))
        await until((watched / "step1" / "weights").exists)
        await daemon.kill()
        written.append(await writing)
    async with running_daemon(tmp_path) as daemon:
        await until(lambda: has(daemon, 2))
        written.append(await write_checkpoint(watched / "step2", 2))
        await until(lambda: has(daemon, 3))
        for number, files in enumerate(written):
            root = tmp_path / f"out{number}"
            await daemon.ctl("get", f"ckpt:v{number}", "--root", str(root))
            assert {path.name: path.read_bytes() for path in root.iterdir()} == files
        assert "leases" in await daemon.ctl("watch", "ls")


async def has(daemon, count):
    try:
        found = len(await versions(daemon))
    except AssertionError:
        return False  # no such artifact yet
    assert found <= count
    return found == count
