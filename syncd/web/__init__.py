"""Door 2: HTTP for people and for Prometheus, on this machine only, read-only, off unless asked for.

It reads through `facts.Facts` and can change nothing: no verb but GET and HEAD, no form, no script, no cookie. What it
guards against is other people's web pages: a browser on this machine can be made to call 127.0.0.1 (DNS rebinding), so
the Host header must name us; names and paths in artifacts are untrusted, so every text is escaped and the page forbids
itself all scripts.

`app` is the door itself, `listen` where it stands, `pages` the page, `metrics` the table of public metric names,
`facts` what they all read.
"""

from syncd.web.app import WebDoor
from syncd.web.facts import Facts
from syncd.web.listen import WebParams

__all__ = ["Facts", "WebDoor", "WebParams"]
