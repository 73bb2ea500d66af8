"""Runs jobs: asks the table what comes next, starts the flow, journals the outcome, and asks again.

One task a job, from acceptance to its end or the daemon's. The journal row is written before the work it stands for
begins, so a restart finds every open job at the place where it was. Uploads to one artifact run one after the other
in the order they were accepted: that is the order of their versions.

What becomes of an error is decided here and nowhere else. An upload gives up only what nobody can mend (another type
under the name, lost source bytes, a wrong request, a thing named that does not exist): everything else is tried again
for ever, with growing pauses, and seen in `status`. A download fails at once unless the remote may come back, and then
after a few tries. Where the journal itself cannot be written the job stands still and the write is tried again: nothing
happens that is not on record.
"""

from syncd.engine.progress import JobProgress
from syncd.engine.run import Engine, EngineParams, Flows

__all__ = ["Engine", "EngineParams", "Flows", "JobProgress"]
