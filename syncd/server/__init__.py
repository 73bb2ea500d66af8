"""Door 1: the unix socket. Frames in, service verbs, frames out.

A session is one connection. Requests of a session run side by side, each in a task of the session's group; replies
leave through one bounded writer, so a peer that does not read stops its own requests and nobody else's. Everything a
peer sends is untrusted: `syncd_client.wire` checks the bytes, `replies` the words, the service their meaning.
"""
