"""What of a setting may be shown: URLs lose their passwords and signatures."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

MASK = "***"


def mask_url(url: str) -> str:
    """Return a URL as it may be printed and logged: user information and every query value masked."""
    parts = urlsplit(url)
    host = parts.netloc
    if "@" in host:
        host = f"{MASK}@{host.rpartition('@')[2]}"
    # What has no "=" is no name, and may be the secret itself.
    names = [part.partition("=")[0] if "=" in part else "" for part in parts.query.split("&") if part]
    query = "&".join(f"{name}={MASK}" if name else MASK for name in names)
    return urlunsplit((parts.scheme, host, parts.path, query, ""))
