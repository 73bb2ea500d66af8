"""The promise that logged bytes do not change: the caller goes on at once, overwrites and deletes as it likes.

The one idea: keep the file's inode (or its blocks) under a name of our own, and let the kernel stop whoever would write
into it until the bytes are safe. Copy only where that cannot be had. Never return other bytes than the promised ones:
where nothing vouches for them any more, the job fails loudly and names the file.

    way      when                                      protection
    blob     files up to 64 KiB                        full: copied, many into one file
    reflink  xfs, btrfs                                full: the blocks are shared until written; a file just written
                                                       is first brought to disk by the kernel, and the caller waits
    lease    ext4, xfs, btrfs, f2fs, tmpfs; own file   full while the daemon lives: hard link and read lease
    copy     everything else                           full
    none     policy "immutable"                        none: compared before and after each read

The order of a pin:
    1 open, without following a link put there meanwhile
    2 fstat: a regular file, the one the client saw
    3 F_SETSIG, then F_SETLEASE; fstat again: from here on the bytes are the promised ones
    4 link the descriptor (never the path) into the spool
    5 compare device and inode of the link
    6 journal row: **the pin stands**; everything before is garbage that an undo or a sweep removes
    7 answer

    a crash after   leaves                                          cleaned by
    3               nothing: the kernel drops the lease             -
    4, 5            a file in the spool without a row               the sweep at the next start
    6               a pin in a draft whose client may be gone       the client goes on, or the idle draft is dropped
    a rescue        see rescue.py                                   the sweep; a loss is found by comparing at the start
    a release       files without rows (rows go first)              the sweep at the next start

While the daemon lives but stands still for longer than the kernel holds a writer, a rewritten file is lost loudly: what
may be believed when is told in leases.py. Spools are locked against daemons on copies of this journal (claims.py).

Gaps that remain, told in receipts: the daemon is dead while a leased file is rewritten in place; power is lost before a
pinned file was synced. Then the job fails loudly. Not seen, hence told too: on tmpfs, while the daemon is dead, a
writer through a memory map may change bytes without size or mtime; and a writer who has a file mapped, open from before
the pin, while it is being copied. Nor is a file that was rewritten in place while the daemon was dead and then given
its old size and mtime, to the nanosecond: the change time cannot be used, for linking and unlinking change it too.

Spools are made by the daemon's own uid in `.syncd-spool-<uid>/<id of this journal>`; files in them are only read.
Rooms above use `Pins`, which `open_pins` gives; `mask_signals` is the first line of main.
"""

from syncd.pin.leases import mask_signals, unmask_signals
from syncd.pin.params import PinLanes, PinParams, PinUsage
from syncd.pin.pins import Pins, open_pins
from syncd.pin.reader import PinReader

__all__ = ["PinLanes", "PinParams", "PinReader", "PinUsage", "Pins", "mask_signals", "open_pins", "unmask_signals"]
