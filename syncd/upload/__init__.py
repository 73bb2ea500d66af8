"""One upload, from pinned files to a manifest in the remote; the commit follows when all of that is durable.

    scan -> cut -> pack -> send      (run.py joins them)      ... then commit

`scan` names the draft's files in order. `cut` reads windows of them in a lane, cuts at content-defined boundaries
and hashes. `pack` asks what is stored already, turns the rest into frames and seals packs. `send` puts packs, several
at once, and notes each in the journal. No stage knows another; queues between them are bounded, and every byte in
flight is counted against the daemon's one budget, so a slow remote stops the reading and nothing grows.

What a crash leaves, by the place it strikes:

| after                         | is left                                   | who cleans, what is sent again           |
|-------------------------------|-------------------------------------------|------------------------------------------|
| reading, before a pack's put  | nothing                                   | read and sent at the next start          |
| a pack's put, before its row  | a pack nobody refers to                   | sent again: at most the packs in flight  |
| a pack's row                  | pack and rows                             | nothing is sent or read again            |
| the manifest's put            | a manifest nobody refers to               | written again under the same name        |
| the row `prepared`            | everything but the log entry              | goes on with the commit                  |
| the log entry (commit point)  | the version exists                        | found by its transaction id, then let go |
"""
