"""The one definition of what is said on the socket; the daemon imports it, nobody repeats it.

Pure: bytes in, messages out. No socket, no clock, no thread; both sides wrap it in whatever loop they have.
`frames` knows lengths and limits, `messages` knows every verb, `errors` the words for what went wrong.
docs/PROTOCOL.md says the same in prose, for writers of clients in other languages.
"""
