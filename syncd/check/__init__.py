"""Fsck: is everything there that the logs promise, whom does damage hurt, and what of it can be mended.

The one idea: every object is judged by itself. One log, manifest or pack that is damaged is a *finding*; it hides
nothing else. A finding names what is wrong (`Kind`), the object, the versions that it hurts and what to do.

Without repair nothing is written. With it, in this order, each step a file; any of them may be repeated:

1. `walk`: read all; nothing is damaged: the end.
2. `restore`: repo.json, epochs, log slots and manifests get back their very bytes, where somebody has them: a mirror,
   for log slots also the journal (what this node has seen of a log). The chain of hashes, the entry that names a
   manifest, decide whether bytes are the right ones. A log slot that is gone is put if absent, never over another.
   Packs get theirs back from the mirror. Then 1 again, for more may be readable now.
3. `quarantine`: an epoch names the damaged packs, and fences every log: from here on no writer refers to them.
4. `repair`: chunks that are needed and damaged are sought (`sources`), stored in new packs under that epoch, and each
   version that is whole again by them gets a `rebase` entry.
5. 1 again: what is still damaged is told, and remembered for `show`.

| a crash after | leaves | the next repair |
|---|---|---|
| some of 2 | some objects restored | restores the others |
| 3, before its fences | an epoch whose fences are missing | fences: the epoch has no end yet |
| 3 | damaged packs nobody refers to anew | finds them quarantined already, goes on with 4 |
| packs or manifest of 4 | packs nobody refers to | stores the same packs under the same names |
| a version's rebase entry | that version repaired | finds it sound; goes on with the others |

Damage that comes while a check runs, or that a collection and a deletion explain, is not told: before a finding is
told, the logs are read again, and what no version needs any more is dropped.
"""
