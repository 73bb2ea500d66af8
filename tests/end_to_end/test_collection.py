"""Garbage with real daemons: logged, deleted, collected; bytes are gone from the directory, others are whole."""

import json
import random

import pytest

from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, running_daemon


def made(folder, **files):
    folder.mkdir()
    for name, seed in files.items():
        (folder / name).write_bytes(random.Random(seed).randbytes(60_000))
    return folder


def stored(remote):
    return sum(path.stat().st_size for path in (remote / "packs").rglob("*") if path.is_file())


@pytest.fixture
def remote(tmp_path):
    return tmp_path / "remote"


@pytest.fixture
def one(tmp_path, remote):
    with running_daemon(tmp_path / "one", remote=remote, settings=SMALL) as daemon:
        yield daemon


@pytest.fixture
def two(tmp_path, one):
    with running_daemon(tmp_path / "two", remote=one.remote, settings=SMALL) as daemon:
        yield daemon


def tree(root):
    return {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_put_rm_gc_frees_the_bytes_and_leaves_the_rest(tmp_path, one, two, remote):
    old, new = made(tmp_path / "old", a=1, b=2), made(tmp_path / "new", b=2, c=3)
    one.put_done(old)
    one.put_done(new)
    assert one.syncctl("rm", "data:v0").returncode == 0
    full = stored(remote)

    plan = two.syncctl("gc", "--dry-run", "--min-age", "0", "--grace", "0", "--json")
    told = json.loads(plan.stdout)
    assert (told["dry_run"], told["versions"], told["deleted"]) == (True, 1, 1) and told["now_bytes"] > 45_000
    assert stored(remote) == full and not (remote / "gc").exists()

    # by default nothing so young goes
    assert "too young" in two.syncctl("gc").stdout and stored(remote) == full

    ran = two.syncctl("gc", "--min-age", "0", "--grace", "0")
    assert ran.returncode == 0, ran.stderr
    assert "freed now" in ran.stdout and "freed " in ran.stdout.splitlines()[-1]
    assert stored(remote) <= full - 45_000
    two.get_done("data", tmp_path / "out", "v1")
    assert tree(tmp_path / "out") == tree(new)

    gone = one.syncctl("restore", "data:v0")
    assert gone.returncode == 4 and "gone" in gone.stderr
    again = one.put_done(old)
    assert again.version == 2
    two.get_done("data", tmp_path / "again", "v2")
    assert tree(tmp_path / "again") == tree(old)


def test_restore_works_until_the_bytes_are_condemned(tmp_path, one, two):
    old = made(tmp_path / "old", a=1)
    one.put_done(old)
    one.put_done(made(tmp_path / "new", b=2))
    one.syncctl("rm", "data:v0")
    two.syncctl("gc", "--min-age", "1h", "--grace", "0")
    assert one.syncctl("restore", "data:v0").returncode == 0
    one.get_done("data", tmp_path / "out", "v0")
    assert tree(tmp_path / "out") == tree(old)
    one.syncctl("rm", "data:v0")
    two.syncctl("gc", "--min-age", "0", "--grace", "7d")  # condemned, not deleted
    refused = one.syncctl("restore", "data:v0")
    assert refused.returncode == 4 and "condemned" in refused.stderr
    assert "condemned" in one.syncctl("gc", "--explain", "data:v0").stdout


def test_explain_says_why_bytes_are_kept_and_whose_they_are_alone(tmp_path, one):
    one.put_done(made(tmp_path / "old", a=1, b=2))
    one.put_done(made(tmp_path / "new", b=2, c=3))
    told = json.loads(one.syncctl("gc", "--explain", "data:v0", "--json").stdout)
    assert told["kept"] and told["why"] == ["it is not deleted"]
    assert told["exclusive_bytes"] in range(60_000, 62_000) and told["stored_bytes"] > 120_000
    assert any(other.endswith("data:v1") for other in told["shared_with"])
    one.syncctl("rm", "data:v0")
    said = one.syncctl("gc", "--explain", "data:v0")
    assert "not kept" in said.stdout and "it is deleted" in said.stdout
    assert one.syncctl("gc", "--explain", "data:v9").returncode == 4
    assert one.syncctl("gc", "--min-age", "soon").returncode == 2


def test_a_job_whose_daemon_stood_still_goes_on_behind_a_collection(tmp_path, one, two):
    """Whatever it has stored by then is condemned and deleted while the daemon stands still."""
    data = made(tmp_path / "data", a=1, b=2)
    one.put_done(made(tmp_path / "bait", a=1))
    one.syncctl("rm", "data:v0")
    job = one.put(data)
    one.pause()  # wherever it is by now
    for _ in range(2):
        assert two.syncctl("gc", "--min-age", "0", "--grace", "0").returncode == 0
    one.go_on()
    (ended,) = one.wait(job.job)
    assert ended.state == "done", ended
    two.get_done("data", tmp_path / "out", f"v{ended.version}")
    assert tree(tmp_path / "out") == tree(data)


def test_a_collection_tells_how_far_it_is_and_can_be_given_up(tmp_path, one):
    one.put_done(made(tmp_path / "old", a=1))
    heard = []
    report = one.connect().call(m.Collect(True), heard.append)
    assert report.versions == 1
    assert heard and all(isinstance(step, m.CollectStep) for step in heard)
