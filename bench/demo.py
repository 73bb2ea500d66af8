"""The main job, seen: log, kill the daemon in the middle, go on, commit, restore on another node, verify.

    make demo          or          python bench/demo.py [--dir DIRECTORY] [--keep]

Every figure is measured from outside the daemon. Needs about 4 GiB of disk for a moment; leaves nothing behind.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import inputs
from node import Broken, Node, Packs

import syncd_client as wandb
from syncd.format import chunker
from syncd_client import session
from syncd_client.errors import Error
from syncd_client.progress import render
from syncd_client.wire import messages as m

PROJECT = "demo"
KILL_AT = 0.4  # of the checkpoint's bytes, stored
LARGE, SMALL = inputs.GIB, 64 * inputs.MIB
APT = "apt-get install gcc python3-dev"
WAIT_SECONDS = 300


class Story:
    """Says what happens: numbered steps, figures below them, a bar where there is a terminal."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._step = 0
        self._tty = sys.stdout.isatty()
        self._drawn = 0.0
        self._shown = 0

    def step(self, text: str) -> None:
        self._clear()
        self._step += 1
        print(f"\n{self._step}. {text}", flush=True)

    def say(self, text: str) -> None:
        self._clear()
        print(f"   {text}", flush=True)

    def bar(self, label: str, done: int, total: int, rate: float) -> None:
        now = time.perf_counter()
        if self._tty and now - self._drawn > 0.1:
            self._drawn = now
            line = "   " + render(label, done, total, rate)
            print("\r" + line.ljust(self._shown), end="", flush=True)
            self._shown = len(line)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begin

    def _clear(self) -> None:
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", flush=True)
            self._shown = 0


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--dir", type=Path, help="where the demo's directory is made (default: the system's temp)")
    arguments.add_argument("--keep", action="store_true", help="leave the directory for a look")
    chosen = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: through every `finally`
    story = Story()
    try:
        with directory(chosen.dir, chosen.keep) as home:
            play(story, home)
    except KeyboardInterrupt:
        print("\ninterrupted; the daemons are ended", file=sys.stderr)
        return 130
    except (Broken, Error, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    print(f"\nAll of it is right, in {story.seconds:.0f} seconds.")
    return 0


@contextmanager
def directory(above: Path | None, keep: bool) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="syncd-demo-", dir=above))
    try:
        yield home
    finally:
        if keep:
            print(f"\nkept: {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)


def play(story: Story, home: Path) -> None:
    native = chunker.load().name != "python"
    size = LARGE if native else SMALL
    need = 3 * size + inputs.GIB + 256 * inputs.MIB  # file, packs, restored; the reserve a pin leaves free
    if (free := shutil.disk_usage(home).free) < need:
        raise Broken(f"{home} has {mib(free)} free, the demo needs {mib(need)}: name another place with --dir")
    with ExitStack() as stack:
        one = Node(home / "node-one", home / "remote")
        two = Node(home / "node-two", home / "remote")
        stack.enter_context(one)
        stack.enter_context(two)
        stack.callback(forget_connections)
        data, weights = make_inputs(story, home, native, size)
        start(story, one)
        use(one)
        data_job, weights_job = log_both(story, data, weights)
        kill_and_go_on(story, one, data_job, weights_job, size)
        restore(story, two, home / "restored", {"stdlib": data, "checkpoint": weights})
        log_again(story, one, data, weights)


def make_inputs(story: Story, home: Path, native: bool, size: int) -> tuple[Path, Path]:
    story.step(f"Real input, below {home}")
    if not native:
        story.say(f"the checkpoint has {mib(size)} instead of {mib(LARGE)}: without its C extension syncd cuts")
        story.say(f"at about 3.5 MB/s. To mend it: {APT}, then `make clean demo`")
    data, weights = home / "stdlib", home / "checkpoint.safetensors"
    begin = time.perf_counter()
    inputs.standard_library(data)
    inputs.checkpoint(weights, size)
    files = [path for path in data.rglob("*") if path.is_file() and not path.is_symlink()]
    total = sum(path.stat().st_size for path in files)
    story.say(f"data set: the standard library of this Python, {len(files)} files, {mib(total)}")
    story.say(f"checkpoint: one file, {mib(size)}, noise and structure ({time.perf_counter() - begin:.1f} s to make)")
    return data, weights


def start(story: Story, one: Node) -> None:
    story.step("A daemon: `syncd serve`, with a remote directory made by `syncd init`")
    one.init_remote()
    seconds = one.start()
    status = ask(one, m.Status())
    story.say(f"answers after {seconds * 1e3:.0f} ms, chunker {status.chunker}, {mib(status.memory_bytes)} resident")


def use(node: Node) -> None:
    """Let `syncd_client` of this process speak to a node from now on."""
    os.environ["SYNCD_SOCKET"] = str(node.socket)
    os.environ["SYNCD_AUTOSTART"] = "0"


def forget_connections() -> None:
    session.connection().close()


def log_both(story: Story, data: Path, weights: Path) -> tuple[wandb.Artifact, wandb.Artifact]:
    story.step("A script logs both and goes on (import syncd_client as wandb)")
    run = wandb.init(project=PROJECT)
    logged = []
    for name, kind, path in (("stdlib", "dataset", data), ("checkpoint", "model", weights)):
        artifact = wandb.Artifact(name=name, type=kind)
        begin = time.perf_counter()
        artifact.add_dir(path) if path.is_dir() else artifact.add_file(path)
        added = time.perf_counter()
        run.log_artifact(artifact)
        waited = time.perf_counter() - begin
        receipt = artifact.receipts[0]
        ways = ", ".join(f"{count} by {way}" for way, count in sorted(receipt.ways.items()))
        story.say(
            f"{name}: {mib(receipt.bytes)} logged, the caller waited {waited * 1e3:.1f} ms "
            f"(add {1e3 * (added - begin):.1f}, log {1e3 * (waited - added + begin):.1f}); pinned: {ways}"
        )
        logged.append(artifact)
    return logged[0], logged[1]


def kill_and_go_on(story: Story, node: Node, data: wandb.Artifact, weights: wandb.Artifact, size: int) -> None:
    story.step(f"SIGKILL when {KILL_AT:.0%} of the checkpoint is stored")
    begin = time.perf_counter()
    stored = kill_in_the_middle(story, node, weights.job, size)
    before = Packs(node.remote)
    unfinished = before.unfinished()
    story.say(
        f"killed after {time.perf_counter() - begin:.2f} s: {mib(stored)} stored, "
        f"{len(before.files)} packs in the remote, {mib(unfinished)} of packs in flight lost"
    )
    story.step("The same daemon again, on the same state")
    begin = time.perf_counter()
    node.start()
    for artifact in (data, weights):
        job = follow(story, node, artifact.job)
        artifact.wait(WAIT_SECONDS)
        must(artifact.version == "v0", f"{artifact.name} became {artifact.version}, not v0")
        story.say(f"{artifact.qualified_name} committed: {artifact.file_count} files, digest {job.digest[:16]}…")
    after = Packs(node.remote)
    again = after.put_again(before) + after.held_twice() + unfinished
    logged = data.size + weights.size
    story.say(f"all committed {time.perf_counter() - begin:.2f} s after the second start")
    story.say(f"bytes logged {mib(logged)}, stored {mib(after.size)}, sent again after the kill {mib(again)}")
    must(again < 0.5 * size, f"{mib(again)} were sent again: more than the packs in flight")
    must(after.unfinished() == 0, "temporary files are left in the remote")


def kill_in_the_middle(story: Story, node: Node, job: str, size: int) -> int:
    class Reached(Exception):
        pass

    stored = 0

    def look(info: m.JobInfo) -> None:
        nonlocal stored
        stored = info.bytes_stored
        story.bar("uploading", stored, size, 0.0)
        if stored >= KILL_AT * size:
            node.kill()
            raise Reached

    with node.connect() as connection:
        try:
            connection.call(m.Wait([job], WAIT_SECONDS), look)
        except Reached:
            return stored
    raise Broken("the upload ended before it could be killed: no event told that the middle was reached")


def follow(story: Story, node: Node, job: str) -> m.JobInfo:
    """Wait for a job; it must end well."""
    begin = time.perf_counter()

    def look(info: m.JobInfo) -> None:
        rate = info.bytes_done / (time.perf_counter() - begin)
        story.bar(f"{info.name} {info.state}", info.bytes_done, info.bytes_total, rate)

    with node.connect() as connection:
        ended = connection.call(m.Wait([job], WAIT_SECONDS), look).jobs[0]
    if ended.state != "done":
        raise Broken(f"job {job} is {ended.state}: {ended.error}")
    return ended


def restore(story: Story, node: Node, root: Path, sources: dict[str, Path]) -> None:
    story.step("Another node (its own daemon and state) downloads NAME:latest from the same remote")
    node.start()
    use(node)
    wandb.finish()
    run = wandb.init(project=PROJECT)
    for name, source in sources.items():
        begin = time.perf_counter()
        artifact = run.use_artifact(f"{name}:latest")
        place = Path(artifact.download(root=root / name))
        fetched = time.perf_counter()
        artifact.verify(root=place)
        verified = time.perf_counter()
        files = compare(source, place / source.name if source.is_file() else place)
        story.say(
            f"{artifact.name}: {mib(artifact.size)} in {fetched - begin:.2f} s; verified by the daemon in "
            f"{verified - fetched:.2f} s; {files} entries compared with the source, bit for bit, by this script"
        )


def compare(source: Path, restored: Path) -> int:
    """Compare bytes, modes, links and names of two files or trees; return how many entries there are."""
    if source.is_file():
        must(same_file(source, restored), f"{restored} differs from {source}")
        return 1
    names = listing(source)
    other = listing(restored)
    must(names == other, f"other names in {restored}: {sorted(names ^ other)[:3]}")
    for name in sorted(names):
        one, two = source / name, restored / name
        if one.is_symlink():
            must(two.is_symlink() and os.readlink(one) == os.readlink(two), f"the link {two} differs")
        elif one.is_file():
            must(same_file(one, two), f"{two} differs from {one}")
    return len(names)


def listing(root: Path) -> set[str]:
    """Return everything below a directory, directories aside unless they are empty."""
    found = set()
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_dir() or not any(path.iterdir()):
            found.add(str(path.relative_to(root)))
    return found


def same_file(one: Path, two: Path) -> bool:
    modes = (stat.S_IMODE(path.stat().st_mode) & 0o777 for path in (one, two))
    return len(set(modes)) == 1 and filecmp.cmp(one, two, shallow=False)


def log_again(story: Story, node: Node, data: Path, weights: Path) -> None:
    story.step("The first node logs the same content once more")
    use(node)
    wandb.finish()
    run = wandb.init(project=PROJECT)
    before = Packs(node.remote)
    for name, kind, path in (("stdlib", "dataset", data), ("checkpoint", "model", weights)):
        begin = time.perf_counter()
        artifact = wandb.Artifact(name=name, type=kind)
        artifact.add_dir(path) if path.is_dir() else artifact.add_file(path)
        run.log_artifact(artifact)
        job = follow(story, node, artifact.job)
        must(not job.new_version and job.version == 0, f"{name} became v{job.version}: its content is the same")
        must(job.bytes_stored == 0, f"{job.bytes_stored} bytes of {name} were stored again")
        story.say(f"{name}: still v0, no new version, 0 bytes sent, {time.perf_counter() - begin:.2f} s")
    after = Packs(node.remote)
    must(after.files.keys() == before.files.keys(), "there are new packs in the remote")
    must(after.put_again(before) == 0, "packs were put once more")
    run.finish()


def ask(node: Node, request: m.Request) -> Any:
    with node.connect() as connection:
        return connection.call(request)


def must(right: bool, otherwise: str) -> None:
    if not right:
        raise Broken(otherwise)


def mib(count: float) -> str:
    """Return bytes for people."""
    return f"{count / inputs.GIB:.2f} GiB" if count >= inputs.GIB else f"{count / inputs.MIB:.1f} MiB"


if __name__ == "__main__":
    sys.exit(main())
