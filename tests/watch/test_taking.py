import asyncio
from dataclasses import dataclass, field

import pytest

from syncd.errors import Conflict, LocalDisk
from syncd.journal.watches import WatchRow
from syncd.model.views import ReceiptView
from syncd.watch.taking import Taker, Taking, draft_id

WATCH = WatchRow(b"/w", "ckpt", "model", "p", 5.0, "", 0.0)


@dataclass
class Notebook:
    """Pins and log that write down what is asked of them."""

    said: list[str] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    still: bool = True
    open_file: bool = False
    log_error: BaseException | None = None
    accepted_anyway: bool = False

    async def add_dir(self, draft, path, prefix, *, dev, ino, policy, merge, closed_only=False):
        self.said.append(f"pin {path.decode()} closed_only={closed_only}")
        if self.open_file and closed_only:
            raise Conflict("open for writing")
        return ReceiptView(1, 1)

    async def drop(self, draft):
        self.said.append("drop")

    async def unchanged(self):
        self.said.append("look")
        return self.still

    async def logged(self, draft):
        return self.jobs.get(draft)

    async def log(self, taking):
        self.said.append("log")
        if self.log_error is None or self.accepted_anyway:
            self.jobs[taking.draft] = "job"
        if self.log_error is not None:
            raise self.log_error
        return "job"

    async def take(self, proof="leases"):
        taker = Taker(self, self.logged, self.log)
        return await taker(Taking(WATCH, b"/w/s", 1, 2, "draft", proof, self.unchanged))


async def test_it_pins_looks_again_and_only_then_logs():
    notebook = Notebook()
    assert await notebook.take() == "job"
    assert notebook.said == ["drop", "pin /w/s closed_only=True", "look", "log"]


async def test_a_draft_logged_before_a_crash_is_that_job_and_nothing_is_touched():
    notebook = Notebook(jobs={"draft": "job7"})
    assert await notebook.take() == "job7"
    assert notebook.said == []


async def test_a_change_while_pinning_drops_the_pins():
    notebook = Notebook(still=False)
    with pytest.raises(Conflict):
        await notebook.take()
    assert notebook.said[-2:] == ["look", "drop"]
    assert notebook.jobs == {}


async def test_an_open_file_refuses_and_drops_but_a_marker_vouches():
    notebook = Notebook(open_file=True)
    with pytest.raises(Conflict):
        await notebook.take()
    assert notebook.said[-1] == "drop"
    assert await notebook.take(proof="marker") == "job"


async def test_pins_of_a_job_are_never_dropped_whatever_the_log_said():
    for error in (LocalDisk("disk full"), asyncio.CancelledError()):
        notebook = Notebook(log_error=error, accepted_anyway=True)
        with pytest.raises(type(error)):
            await notebook.take()
        assert notebook.said[-1] == "log"
    refused = Notebook(log_error=LocalDisk("disk full"))
    with pytest.raises(LocalDisk):
        await refused.take()
    assert refused.said[-1] == "drop"


def test_a_draft_id_is_the_same_for_the_same_contents_and_no_other():
    base = (b"/w", b"s", b"sig", "job")
    others = [
        (b"/w2", b"s", b"sig", "job"),
        (b"/w", b"s2", b"sig", "job"),
        (b"/w", b"s", b"s", "job"),
        (*base[:3], ""),
    ]
    assert draft_id(*base) == draft_id(*base)
    assert len({draft_id(*each) for each in [base, *others]}) == 5
    assert len(draft_id(*base)) == 32
