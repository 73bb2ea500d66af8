"""What of a setting may be shown: URLs lose their passwords and signatures."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

MASK = "***"

_PLAIN = re.compile(
    r"(?:endpoint=https?(?:://|%3A%2F%2F)[A-Za-z0-9.\-]+(?:(?::|%3A)[0-9]{1,5})?"
    r"|region=[a-z]{2,9}-[a-z\-]{2,20}-[0-9]|style=(?:path|virtual)|anonymous=true)"
)
"""Options of a bucket's address whose value, written like this, cannot be a secret."""


def mask_url(url: str) -> str:
    """Return a URL as it may be printed and logged: user information and every query value masked."""
    parts = urlsplit(url)
    host = parts.netloc
    if "@" in host:
        host = f"{MASK}@{host.rpartition('@')[2]}"
    query = "&".join(_mask_option(part) for part in parts.query.split("&") if part)
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def _mask_option(part: str) -> str:
    if _PLAIN.fullmatch(part):
        return part
    # What has no "=" is no name, and may be the secret itself.
    name, equals, _ = part.partition("=")
    return f"{name}={MASK}" if equals else MASK
