"""What of a setting may be shown: URLs lose their passwords and signatures."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

MASK = "***"


def mask_url(url: str) -> str:
    """Return a URL as it may be printed and logged: user information and every query value masked."""
    parts = urlsplit(url)
    host = parts.netloc
    if "@" in host:
        host = f"{MASK}@{host.rpartition('@')[2]}"
    query = urlencode([(name, MASK) for name, _ in parse_qsl(parts.query, keep_blank_values=True)], safe="*")
    if parts.query and not query:
        query = MASK
    return urlunsplit((parts.scheme, host, parts.path, query, ""))
