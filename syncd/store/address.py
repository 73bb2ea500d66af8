"""Where a remote is: from the word people write to a checked address, and back to its one spelling.

An address never holds a secret. Credentials come from where the cloud's own tools find them (bucket/credentials.py);
an address that carries some is refused, without being repeated.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode, urlsplit

from syncd.errors import InvalidInput

BUCKETS = {"s3": "S3 or what speaks like it", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
_HINT = "write file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
_WHAT = "not the address of a remote"

_OPTIONS = {
    "s3": ("endpoint", "region", "profile", "style", "anonymous", "ca"),
    "gs": ("endpoint", "anonymous", "ca"),
    "az": ("endpoint", "account", "anonymous", "ca"),
}
_GRAMMAR = {
    "endpoint": re.compile(r"https?://[A-Za-z0-9._\-\[\]:]+(?:/[A-Za-z0-9._\-]+)?/?"),
    "region": re.compile(r"[A-Za-z0-9\-]{1,64}"),
    "profile": re.compile(r"[A-Za-z0-9._@+\-]{1,128}"),
    "style": re.compile(r"path|virtual"),
    "account": re.compile(r"[a-z0-9]{1,64}"),
    "anonymous": re.compile(r"true|false"),
    "ca": re.compile(r"/[^\x00\n]{1,1000}"),
}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,254}")
_PREFIX = re.compile(r"[A-Za-z0-9._\-=+@]{1,255}(?:/[A-Za-z0-9._\-=+@]{1,255})*")


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """Where a remote is.

    Attributes:
        kind: "local", "memory", "s3", "gs" or "az".
        path: of a local remote's root directory, absolute and without trailing slashes.
        bucket: of an object store (Azure: the container).
        prefix: under which all keys lie, without slashes at its ends; "" for the whole bucket.
        options: (name, value) as in the address, sorted by name; none of them is a secret.
    """

    kind: str
    path: bytes = b""
    bucket: str = ""
    prefix: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The address in its one spelling, for people and for keys of the journal; never holds a secret."""
        if self.kind == "local":
            return f"file://{quote(self.path)}"
        if self.kind == "memory":
            return "memory:"
        place = f"{self.kind}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")
        return f"{place}?{urlencode(self.options, safe='/:')}" if self.options else place

    def option(self, name: str) -> str:
        """Return an option's value, "" where it is not given."""
        return dict(self.options).get(name, "")


def parse_remote(url: str) -> RemoteAddress:
    """Read an address: `file:///absolute/path` (percent-encoded), a bare absolute path, `memory:`, or a bucket.

    Raises:
        InvalidInput: anything else, or credentials in it. The message never repeats the address.
    """
    if url.startswith("/"):
        return _local(os.fsencode(url))
    if url == "memory:":
        return RemoteAddress("memory")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidInput(_WHAT, "it is not a URL", _HINT) from None  # the cause repeats it
    if parts.scheme in BUCKETS and url.startswith(f"{parts.scheme}://"):
        return _bucket(parts.scheme, parts.netloc, parts.path, parts.query, parts.fragment)
    if parts.scheme != "file" or not url.startswith("file:"):
        raise InvalidInput(_WHAT, "it is neither a bucket nor file:// nor an absolute path", _HINT)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise InvalidInput(
            _WHAT,
            "file:// takes a path and nothing else: no host, no ? and no # (write %3F and %23)",
            "three slashes: file:///absolute/path",
        )
    return _local(unquote_to_bytes(os.fsencode(parts.path)))


def _local(path: bytes) -> RemoteAddress:
    if not path.startswith(b"/") or b"\0" in path:
        raise InvalidInput(_WHAT, "its path is not absolute", _HINT)
    return RemoteAddress("local", os.path.normpath(path).replace(b"//", b"/"))


def _bucket(kind: str, host: str, path: str, query: str, fragment: str) -> RemoteAddress:
    if "@" in host:
        raise _secret()
    if not _BUCKET.fullmatch(host) or fragment:
        raise InvalidInput(_WHAT, f"no bucket can be read from it: {kind}://BUCKET/PREFIX", _HINT)
    prefix = path.strip("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise InvalidInput(
            _WHAT, "its prefix holds more than letters, digits, ._-=+@ and single slashes", "choose a plainer prefix"
        )
    return RemoteAddress(kind, bucket=host, prefix=prefix, options=_options(kind, query))


def _options(kind: str, query: str) -> tuple[tuple[str, str], ...]:
    known = _OPTIONS[kind]
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise _secret(f"an option is none of {', '.join(known)}")
        if name in found or not _GRAMMAR[name].fullmatch(value):
            if name == "endpoint" and "@" in value:
                raise _secret()
            raise InvalidInput(
                _WHAT, f"its option {name} is given twice or has a value it cannot have", _expected(name)
            )
        found[name] = value.rstrip("/") if name == "endpoint" else value
    if query and not found:
        raise _secret("what follows the ? is no option")
    return tuple(sorted((name, value) for name, value in found.items() if value != "false"))


def _secret(why: str = "it carries credentials") -> InvalidInput:
    return InvalidInput(
        _WHAT,
        why,
        "credentials never stand in an address: put them into the environment (AWS_*, GOOGLE_*, AZURE_*) or a profile",
    )


def _expected(name: str) -> str:
    return {
        "endpoint": "endpoint=http://host:port or endpoint=https://host",
        "style": "style=path or style=virtual",
        "anonymous": "anonymous=true",
        "ca": "ca=/absolute/path/of/a.pem",
    }.get(name, f"{name}=a-plain-word")
