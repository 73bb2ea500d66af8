"""A second copy of the repository, byte for byte, that follows the first; and copies between repositories.

The mirror is the same repository: same id, same keys, same bytes. Every node that has one set brings over what it
commits, and now and then what others have committed; any number of them may do so at once, for every object is put
under its own name and every log slot only where there is none. Nothing of the primary waits for it.

The order, for every log; whatever is there already is passed over:

1. repo.json, if absent; a mirror of another repository is refused.
2. epochs and their ends, in order.
3. what the log's newest state needs and the state before did not: packs, each proved before it is put, then manifests.
4. the log's slots, in order, each if absent. **From here on the mirror has these versions.**
5. the journal: how far the log is.

| a crash after | leaves | the next pass |
|---|---|---|
| 1, 2 | epochs nobody refers to yet | goes on |
| some of 3 | packs and manifests nobody refers to | finds their sizes right, goes on |
| some of 4 | a log that is shorter than the primary's, all of whose versions are there | puts the rest |
| 4 | the same as after 5 | reads the slots again, finds them equal |

What cannot be read at the primary stops its own log, and no other. A mirror whose log holds something else than the
primary's is said to be forked and left alone. Versions that were deleted and collected at the primary before they came
over are entries without data there, as they are here. Nothing is ever deleted at the mirror by this.
"""
