"""Progress is for people at a terminal, and silent for everything else."""

from __future__ import annotations

import io

import pytest

from syncd_client.progress import Progress, clock, render, size
from syncd_client.wire.messages import JobInfo


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_drawn_where_nobody_looks(capsys):
    with Progress("x") as progress:
        progress(JobInfo("j", "upload", "sending", bytes_total=10, bytes_done=10))
    assert capsys.readouterr() == ("", "")


def test_a_line_is_drawn_and_cleared(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress() as progress:
        progress(JobInfo("j", "upload", "sending", name="data", bytes_total=10, bytes_done=10))
    text = terminal.getvalue()
    assert "data sending  [########################] 100%  10 B / 10 B" in text
    assert text.endswith("\r")


def test_the_line_says_share_rate_and_time_left():
    assert render("x", 512 << 20, 1 << 30, 64 << 20) == (
        "x  [############------------]  50%  512.0 MiB / 1.0 GiB  64.0 MiB/s  ETA 0:08"
    )
    assert render("x", 0, 0, 0) == "x  [------------------------]   0%  0 B / 0 B"


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_the_line_never_wraps(columns):
    label = "resnet50-imagenet-checkpoint-fp16 uploading"
    line = render(label, 512 << 20, 1 << 30, 64e6, columns)
    assert len(line) < columns
    assert "[###" in line


def test_figures_for_people():
    assert [size(n) for n in (0, 1023, 1024, 1 << 50)] == ["0 B", "1023 B", "1.0 KiB", "1024.0 TiB"]
    assert [clock(n) for n in (0, 61, 3661, 1e12)] == ["0:00", "1:01", "1:01:01", "99:59:59"]
