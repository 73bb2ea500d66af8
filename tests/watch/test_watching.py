import os
import shutil

import pytest

from syncd.errors import Conflict, InvalidInput, LocalDisk, NotFound, Refused
from tests.kit.watch_kit import Bench, no_leases


@pytest.fixture
async def bench(tmp_path):
    bench = Bench(tmp_path)
    await bench.start()
    yield bench
    await bench.stop()


def notes(bench):
    (view,) = bench.watcher.views()
    return {taken.path: taken.note for taken in view.taken if taken.state == "pending"}


async def test_a_sub_directory_is_taken_once_it_was_quiet_for_the_settle_time(bench):
    await bench.watch()
    bench.sub("step1", weights=b"w")
    await bench.pass_time(4.9)
    assert bench.versions.taken == []
    await bench.pass_time(2.0)
    await bench.pass_time(100.0)
    assert bench.versions.taken == [{b"weights": b"w"}]
    (view,) = bench.watcher.views()
    assert (view.pending, view.proof) == (0, "leases")
    assert [(t.path, t.state, t.job, t.proof) for t in view.taken] == [(b"step1", "taken", "job0", "leases")]


async def test_a_slow_writer_with_an_open_file_is_never_taken_before_it_closes(bench):
    await bench.watch()
    path = bench.sub("step1", config=b"{}")
    with open(path / "weights", "wb", buffering=0) as file:
        for _ in range(4):
            file.write(b"x" * 1000)
            await bench.pass_time(30.0)
            assert bench.versions.taken == []
        assert notes(bench) == {b"step1": "open for writing: weights"}
    await bench.pass_time(20.0)
    assert bench.versions.taken == [{b"config": b"{}", b"weights": b"x" * 4000}]


async def test_a_pause_between_two_files_shorter_than_settle_makes_no_version(bench):
    await bench.watch()
    path = bench.sub("step1")
    for name in ("a", "b", "c"):
        with open(path / name, "wb", buffering=0) as file:
            file.write(b"1")
            await bench.pass_time(17.0)
        await bench.pass_time(2.0)
    assert bench.versions.taken == []
    await bench.pass_time(9.0)
    assert bench.versions.taken == [{b"a": b"1", b"b": b"1", b"c": b"1"}]


async def test_what_was_there_before_the_watch_is_taken_too_oldest_first(bench):
    for number, name in enumerate(["step2", "step10", "step1"]):
        path = bench.sub(name, w=name.encode())
        os.utime(path / "w", (1000 + number, 1000 + number))
    await bench.watch()
    await bench.pass_time(10.0)
    assert bench.versions.taken == [{b"w": b"step2"}, {b"w": b"step10"}, {b"w": b"step1"}]


async def test_deleting_old_ones_makes_no_version(bench):
    await bench.watch()
    bench.sub("step1", a=b"1", b=b"2")
    bench.sub("step2", a=b"3")
    await bench.pass_time(10.0)
    assert len(bench.versions.taken) == 2
    shutil.rmtree(bench.directory / "step1")
    for name in os.listdir(bench.directory / "step2"):
        os.unlink(bench.directory / "step2" / name)  # emptied, its directory left
    await bench.pass_time(100.0)
    assert len(bench.versions.taken) == 2
    (view,) = bench.watcher.views()
    assert (view.pending, view.error) == (0, "")


async def test_a_change_after_it_was_taken_is_a_further_version_and_said_so(bench):
    await bench.watch()
    path = bench.sub("step1", w=b"old")
    await bench.pass_time(10.0)
    (path / "w").write_bytes(b"new!")
    await bench.pass_time(40.0)
    assert bench.versions.taken == [{b"w": b"old"}, {b"w": b"new!"}]
    (view,) = bench.watcher.views()
    assert [(t.job, t.note) for t in view.taken] == [
        ("job1", "changed after it was taken: a further version"),
        ("job0", ""),
    ]


async def test_a_rewrite_in_place_of_the_same_size_is_a_further_version(bench):
    await bench.watch()
    path = bench.sub("step1", w=b"old")
    await bench.pass_time(10.0)
    os.utime(path / "w", ns=(1, 1))  # the kernel's own stamps are ticks of milliseconds; this test is faster
    with open(path / "w", "r+b") as file:
        file.write(b"new")
    await bench.pass_time(40.0)
    assert bench.versions.taken == [{b"w": b"old"}, {b"w": b"new"}]


async def test_a_changed_mode_or_link_is_a_further_version(bench):
    await bench.watch()
    path = bench.sub("step1", w=b"1", x=b"2")
    (path / "link").symlink_to("w")
    await bench.pass_time(10.0)
    os.chmod(path / "w", 0o755)
    await bench.pass_time(40.0)
    (path / "link").unlink()
    (path / "link").symlink_to("x")
    await bench.pass_time(40.0)
    assert [version[b"link"] for version in bench.versions.taken] == [b"1", b"1", b"2"]


async def test_no_settle_time_still_waits_for_an_open_file(bench):
    await bench.watch(settle=0.0)
    path = bench.sub("step1")
    with open(path / "w", "wb", buffering=0) as file:
        file.write(b"1")
        await bench.pass_time(20.0)
        assert bench.versions.taken == []
    await bench.pass_time(3.0)
    assert bench.versions.taken == [{b"w": b"1"}]


async def test_contents_that_return_are_a_further_version_each_time(bench):
    await bench.watch()
    path = bench.sub("step1", w=b"a")
    await bench.pass_time(10.0)
    (path / "x").write_bytes(b"")
    await bench.pass_time(40.0)
    (path / "x").unlink()
    await bench.pass_time(40.0)
    assert bench.versions.taken == [{b"w": b"a"}, {b"w": b"a", b"x": b""}, {b"w": b"a"}]


async def test_a_change_while_it_is_pinned_makes_no_version_of_the_mixture(bench):
    await bench.watch()
    path = bench.sub("step1", w=b"old")
    changes = iter([b"newer"])
    bench.versions.meddle = lambda: [(path / "w").write_bytes(data) for data in changes][:0]
    await bench.pass_time(30.0)
    assert bench.versions.taken == [{b"w": b"newer"}]


async def test_a_restart_takes_nothing_twice(bench):
    await bench.watch()
    bench.sub("step1", w=b"1")
    await bench.pass_time(10.0)
    await bench.watcher.close()
    bench.versions.jobs.clear()  # even if the log had forgotten the job
    await bench.start()
    await bench.pass_time(60.0)
    assert len(bench.versions.taken) == 1
    (view,) = bench.watcher.views()
    assert [t.job for t in view.taken] == ["job0"]


async def test_a_crash_between_the_job_and_its_row_meets_the_same_job_again(bench):
    await bench.watch()
    bench.sub("step1", w=b"1")
    await bench.pass_time(10.0)
    await bench.journal.write(lambda c: c.execute("DELETE FROM taken"))
    await bench.watcher.close()
    await bench.start()
    await bench.pass_time(60.0)
    assert len(bench.versions.taken) == 1
    (view,) = bench.watcher.views()
    assert [t.job for t in view.taken] == ["job0"]


async def test_with_a_done_marker_the_marker_decides(bench):
    await bench.watch(done_marker="DONE")
    path = bench.sub("step1", w=b"1")
    await bench.pass_time(100.0)
    assert bench.versions.taken == []
    assert notes(bench) == {b"step1": "waiting for DONE"}
    (path / "DONE").touch()
    await bench.pass_time(3.0)
    assert bench.versions.taken == [{b"w": b"1", b"DONE": b""}]
    assert bench.versions.takings[0].proof == "marker"
    assert not bench.versions.takings[0].closed_only


async def test_a_marked_one_that_changes_later_must_be_quiet_again(bench):
    await bench.watch(done_marker="DONE")
    path = bench.sub("step1", DONE=b"")
    await bench.pass_time(1.0)
    assert len(bench.versions.taken) == 1
    for count in range(40):
        (path / "w").write_bytes(b"x" * count)
        await bench.pass_time(1.0)
    assert len(bench.versions.taken) == 1
    await bench.pass_time(10.0)
    assert len(bench.versions.taken) == 2


async def test_without_leases_quiet_alone_decides_and_is_called_unproven(bench):
    bench.prober = no_leases
    await bench.start()
    await bench.watch()
    bench.sub("step1", w=b"1")
    await bench.pass_time(10.0)
    (view,) = bench.watcher.views()
    assert view.proof == "unproven"
    assert [t.proof for t in view.taken] == ["unproven"]


async def test_hidden_names_files_and_links_are_no_sub_directories(bench):
    await bench.watch()
    bench.sub(".tmp", w=b"1")
    bench.sub(".syncd-spool-0", w=b"1")
    (bench.directory / "file").write_bytes(b"1")
    (bench.directory / "link").symlink_to("/etc")
    await bench.pass_time(30.0)
    assert bench.versions.taken == []


async def test_a_link_out_of_a_sub_directory_is_not_followed(bench):
    await bench.watch()
    path = bench.sub("step1", w=b"1")
    (path / "out").symlink_to("/proc")
    (path / "deep").mkdir()
    (path / "deep" / "up").symlink_to("..")
    await bench.pass_time(10.0)
    assert len(bench.versions.takings) == 1


async def test_a_directory_that_disappears_is_an_error_shown_and_the_watch_stays(bench):
    await bench.watch()
    shutil.rmtree(bench.directory)
    await bench.pass_time(20.0)
    (view,) = bench.watcher.views()
    assert "no such directory" in view.error
    bench.directory.mkdir()
    bench.sub("step1", w=b"1")
    await bench.pass_time(40.0)
    assert bench.watcher.views()[0].error == ""
    assert len(bench.versions.taken) == 1


async def test_a_refusal_is_shown_and_tried_again_later(bench):
    await bench.watch()
    bench.sub("step1", w=b"1")
    bench.versions.refuse = Refused("the spool is full", "budget 1 GiB")
    await bench.pass_time(20.0)
    assert bench.watcher.views()[0].error == "step1: the spool is full: budget 1 GiB"
    bench.versions.refuse = None
    await bench.pass_time(40.0)
    assert len(bench.versions.taken) == 1
    assert bench.watcher.views()[0].error == ""


async def test_the_same_watch_twice_is_one_and_other_settings_are_a_conflict(bench):
    await bench.watch()
    await bench.watch()
    assert len(bench.watcher.views()) == 1
    with pytest.raises(Conflict, match="other settings"):
        await bench.watch(settle=6.0)
    await bench.start()
    with pytest.raises(Conflict):
        await bench.watch(name="other")


async def test_a_removed_watch_takes_nothing_more_and_watched_again_nothing_twice(bench):
    await bench.watch()
    bench.sub("step1", w=b"1")
    await bench.pass_time(10.0)
    await bench.watcher.remove(os.fsencode(bench.directory) + b"/")
    bench.sub("step2", w=b"2")
    await bench.pass_time(30.0)
    assert len(bench.versions.taken) == 1
    with pytest.raises(NotFound):
        await bench.watcher.remove(os.fsencode(bench.directory))
    await bench.watch(settle=1.0)
    await bench.pass_time(10.0)
    assert bench.versions.taken == [{b"w": b"1"}, {b"w": b"2"}]


async def test_watched_again_for_another_artifact_everything_is_taken_for_that(bench):
    await bench.watch()
    bench.sub("step1", w=b"1")
    await bench.pass_time(10.0)
    await bench.watcher.remove(os.fsencode(bench.directory))
    await bench.watch(name="other")
    await bench.pass_time(10.0)
    assert [t.watch.name for t in bench.versions.takings] == ["ckpt", "other"]


async def test_what_cannot_be_watched_is_a_typed_error(bench, tmp_path):
    (tmp_path / "file").touch()
    add = bench.watcher.add
    with pytest.raises(NotFound):
        await add(os.fsencode(tmp_path / "none"), "n", "t", "p", 5.0, "")
    with pytest.raises(InvalidInput, match="cannot watch"):
        await add(os.fsencode(tmp_path / "file"), "n", "t", "p", 5.0, "")
    for wrong in (
        (b"relative", "n", "t", "p", 5.0, ""),
        (os.fsencode(bench.directory), "a/b", "t", "p", 5.0, ""),
        (os.fsencode(bench.directory), "n", "t", "p", -1.0, ""),
        (os.fsencode(bench.directory), "n", "t", "p", float("nan"), ""),
        (os.fsencode(bench.directory), "n", "t", "p", 5.0, "../x"),
    ):
        with pytest.raises(InvalidInput):
            await add(*wrong)


async def test_an_unreadable_directory_is_a_typed_error(bench, monkeypatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("syncd.watch.scan.sub_directories", refuse)
    with pytest.raises(LocalDisk, match="Permission denied"):
        await bench.watch()


async def test_names_that_are_not_utf8_and_a_thousand_files_are_taken(bench):
    await bench.watch()
    path = os.fsencode(bench.directory) + b"/st\xffep\n1"
    os.mkdir(path)
    for number in range(1000):
        with open(path + b"/f\xfe%d" % number, "wb") as file:
            file.write(b"%d" % number)
    await bench.pass_time(10.0)
    assert len(bench.versions.taken[0]) == 1000
    assert bench.watcher.views()[0].taken[0].path == b"st\xffep\n1"
