"""The library's objects for one address: which options they get, and why each differs from the default.

Two of them, because what may be tried again differs: `once` writes (no tries of its own: a conditional put that the
library repeats by itself reports one's own object as another's), `patient` reads (it goes on in the middle of a broken
answer, which nobody above could).

Time limits are ours (store.py), by the size of what is carried. The library's own would cut: its limit for a whole
request is 30 s by default, and its read limit runs from the request's first byte, so it would end every long upload;
only readers get one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from syncd.clock import Clock
from syncd.errors import RemoteRefused
from syncd.store.address import RemoteAddress
from syncd.store.bucket.credentials import ProfileKeys, Source, find_source, profile_region

_CONNECT_S = 10
_READ_S = 30
_IDLE_S = 20  # shorter than any store keeps an idle connection: a reused one must not be half closed
_FOR_EVER = "7days"

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": (),
    "az": ("AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
}
_CA_FILES = ("AWS_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class Clients:
    """The library's objects.

    Attributes:
        once: for what writes: one request, one answer.
        patient: for what reads.
        keys: the profile's, where there is one.
    """

    once: Any
    patient: Any
    keys: ProfileKeys | None = None


def found_credentials(address: RemoteAddress, environ: Mapping[str, str]) -> str:
    """Return in words where a bucket's credentials come from: names of variables and files, never a value."""
    if address.kind == "s3":
        return _source(address, environ).told
    if address.option("anonymous"):
        return "none (anonymous)"
    named = {"gs": ("GOOGLE_", "SERVICE_ACCOUNT"), "az": ("AZURE_",)}[address.kind]
    names = sorted(name for name in environ if name.startswith(named) and environ[name])
    if names:
        return f"environment ({', '.join(names)})"
    return "application default credentials, or the machine's role" if address.kind == "gs" else "the machine's role"


def build(address: RemoteAddress, environ: Mapping[str, str], clock: Clock) -> Clients:
    """Make the library's objects for a bucket. Asks nobody: what is wrong is told by the first request.

    Raises:
        RemoteRefused: a file that the address or the environment names cannot be read, or an option is not possible.
    """
    make = {"s3": _s3, "gs": _gs, "az": _az}[address.kind]
    keys: ProfileKeys | None = None
    if address.kind == "s3" and (source := _source(address, environ)).kind == "profile":
        keys = ProfileKeys(source.profile, environ, lambda seconds: _from_now(clock, seconds))
    options = _client_options(address, environ)
    shared: dict[str, Any] = {"prefix": address.prefix or None}
    if keys:
        shared["credential_provider"] = keys
    try:
        once = make(address, environ)(
            client_options=options,
            retry_config={"max_retries": 0, "retry_timeout": timedelta(0)},
            **shared,
        )
        patient = make(address, environ)(
            client_options={**options, "read_timeout": f"{_READ_S}s"},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=2 * _READ_S)},
            **shared,
        )
    except (BaseError, ValueError, TypeError, OSError) as error:  # without its words: they may hold keys
        kind = type(error).__name__
        raise RemoteRefused(
            f"cannot use the remote {address.url}", f"what the environment says of it is not possible ({kind})",
            "check AWS_*, GOOGLE_* or AZURE_*, the CA file and the proxy",
        ) from None  # fmt: skip
    return Clients(once, patient, keys)


def _s3(address: RemoteAddress, environ: Mapping[str, str]) -> Callable[..., Any]:
    endpoint = _endpoint(address, environ)
    # Path style is what every imitation understands; Amazon wants the bucket in the host name, where TLS allows it.
    default = "path" if endpoint or "." in address.bucket else "virtual"
    virtual = (address.option("style") or default) == "virtual"
    config: dict[str, Any] = {
        "virtual_hosted_style_request": virtual,
        "conditional_put": "etag",  # AWS_CONDITIONAL_PUT in the environment must not take the primitive away
        "disable_bulk_delete": True,  # not every imitation has it, and it hides a refusal in a 200
        "skip_signature": bool(address.option("anonymous")),
    }
    if endpoint:
        scheme, _, host = endpoint.partition("://")
        place = f"{scheme}://{address.bucket}.{host}" if virtual else endpoint
        config["endpoint"] = config["aws_endpoint_url_s3"] = place  # else AWS_ENDPOINT_URL_S3 would win over ours
    source = _source(address, environ)
    region = address.option("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if not region and source.kind == "profile":
        region = profile_region(source.profile, environ)
    config["region"] = region or "us-east-1"
    return lambda **more: S3Store(address.bucket, config=config, **more)  # type: ignore[arg-type]


def _gs(address: RemoteAddress, environ: Mapping[str, str]) -> Callable[..., Any]:
    config: dict[str, Any] = {}
    if address.option("anonymous"):
        config["skip_signature"] = True
    if endpoint := _endpoint(address, environ):
        config["base_url"] = endpoint
    return lambda **more: GCSStore(address.bucket, config=config, **more)  # type: ignore[arg-type]


def _az(address: RemoteAddress, environ: Mapping[str, str]) -> Callable[..., Any]:
    config: dict[str, Any] = {}
    if account := address.option("account"):
        config["account_name"] = account
    if address.option("anonymous"):
        config["skip_signature"] = True
    if endpoint := _endpoint(address, environ):
        config["endpoint"] = endpoint
    return lambda **more: AzureStore(address.bucket, config=config, **more)  # type: ignore[arg-type]


def _client_options(address: RemoteAddress, environ: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "connect_timeout": f"{_CONNECT_S}s",
        "timeout": _FOR_EVER,
        "pool_idle_timeout": f"{_IDLE_S}s",
        "allow_http": _endpoint(address, environ).startswith("http://"),
    }
    ca = address.option("ca") or next((environ[name] for name in _CA_FILES if environ.get(name)), "")
    if ca:
        try:
            with open(ca, "rb") as file:
                options["root_certificate"] = file.read()
        except OSError as error:
            raise RemoteRefused(
                f"cannot read the certificates in {ca}", os.strerror(error.errno or 0),
                "mend ?ca=, AWS_CA_BUNDLE or SSL_CERT_FILE",
            ) from error  # fmt: skip
    return options


def _endpoint(address: RemoteAddress, environ: Mapping[str, str]) -> str:
    named = address.option("endpoint")
    return named or next((environ[name] for name in _ENDPOINTS[address.kind] if environ.get(name)), "")


def _source(address: RemoteAddress, environ: Mapping[str, str]) -> Source:
    return find_source(bool(address.option("anonymous")), address.option("profile"), environ)


def _from_now(clock: Clock, seconds: float) -> datetime:
    return datetime.fromtimestamp(clock.now() + seconds, UTC)
