"""Every way people have to hand over credentials, and every place where they must not turn up."""

from __future__ import annotations

import builtins
import logging
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.clock import SystemClock
from syncd.errors import RemoteRefused, RemoteUnavailable, SyncdError
from syncd.store.bucket import BucketStore, found_credentials, open_bucket
from syncd.store.open import parse_remote
from syncd.store.retry import Retry, RetryParams
from tests.kit.certificates import authority
from tests.kit.fault_proxy import Asked, Fault, FaultProxy, answer, fault_proxy
from tests.kit.roles import Roles, roles
from tests.kit.servers import BUCKET, Server
from tests.store.conftest import opened


@pytest.fixture
def proxy(moto: Server) -> Iterator[FaultProxy]:
    with fault_proxy(moto.port) as proxy:
        yield proxy


@pytest.fixture
def role() -> Iterator[Roles]:
    with roles() as role:
        yield role


def store_at(moto: Server, proxy: FaultProxy, options: str = "") -> BucketStore:
    return open_bucket(parse_remote(moto.url(BUCKET, "x", proxy.endpoint) + options), SystemClock())


def keys_used(proxy: FaultProxy) -> list[str]:
    """Return which access key signed each request, "" for none."""
    found = [re.search(r"Credential=([^/]+)/", asked.headers.get("authorization", "")) for asked in proxy.seen]
    return [match[1] if match else "" for match in found]


def told(moto: Server, options: str = "") -> str:
    return found_credentials(parse_remote(moto.url(BUCKET) + options), os.environ)


def profiles(home: Path, credentials: str = "", config: str = "") -> None:
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws/credentials").write_text(credentials)
    (home / ".aws/config").write_text(config)


STATIC = "[{}]\naws_access_key_id = {}\naws_secret_access_key = file-SECRET\n"


async def test_from_the_environment(moto: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FROMENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-SECRET")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "env-SECRET-token")
    await store_at(moto, proxy).put("k", [b"x"])
    assert keys_used(proxy) == ["FROMENV"]
    assert proxy.seen[0].headers["x-amz-security-token"] == "env-SECRET-token"
    assert told(moto) == "environment (AWS_ACCESS_KEY_ID with a session token)"


async def test_from_the_default_profile(moto: Server, proxy: FaultProxy, tmp_path: Path):
    profiles(tmp_path, STATIC.format("default", "FROMFILE"))
    await store_at(moto, proxy).put("k", [b"x"])
    assert keys_used(proxy) == ["FROMFILE"]
    assert told(moto) == "AWS profile default"


@pytest.mark.parametrize("way", ["address", "environment"])
async def test_from_a_named_profile(
    moto: Server, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    profiles(tmp_path, STATIC.format("dev", "FROMDEV"), "[profile dev]\nregion = eu-west-9\n")
    if way == "environment":
        monkeypatch.setenv("AWS_PROFILE", "dev")
    options = "&profile=dev" if way == "address" else ""
    url = moto.url(BUCKET, "x", proxy.endpoint).replace("&region=us-east-1", "") + options
    await open_bucket(parse_remote(url), SystemClock()).put("k", [b"x"])
    assert keys_used(proxy) == ["FROMDEV"]
    assert "/eu-west-9/s3/" in proxy.seen[0].headers["authorization"]


async def test_a_profile_named_in_the_address_wins_over_the_environment(
    moto: Server, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    profiles(tmp_path, STATIC.format("dev", "FROMDEV"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "FROMENV")
    await store_at(moto, proxy, "&profile=dev").put("k", [b"x"])
    assert keys_used(proxy) == ["FROMDEV"]
    assert "x-amz-security-token" not in proxy.seen[0].headers


async def test_a_profile_that_is_not_there_is_named(moto: Server, proxy: FaultProxy):
    with pytest.raises(RemoteRefused, match="no AWS profile ghost"):
        await store_at(moto, proxy, "&profile=ghost").put("k", [b"x"])


async def test_a_damaged_profile_file_is_refused_without_its_lines(moto: Server, proxy: FaultProxy, tmp_path: Path):
    profiles(tmp_path, "file-SECRET without a section\n")
    with pytest.raises(RemoteRefused, match="no AWS configuration file") as caught:
        store_at(moto, proxy)
    assert "SECRET" not in str(caught.value) + str(caught.value.__cause__)


async def test_a_profile_that_needs_a_conversation_is_botocores(moto: Server, proxy: FaultProxy, tmp_path: Path):
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "FROMPROG", "SecretAccessKey": "p-SECRET"}\'\n')
    program.chmod(0o700)
    profiles(tmp_path, "", f"[profile talk]\ncredential_process = {program}\n")
    await store_at(moto, proxy, "&profile=talk").put("k", [b"x"])
    assert keys_used(proxy) == ["FROMPROG"]


async def test_without_botocore_it_is_said_what_to_install(
    moto: Server, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    profiles(tmp_path, "", "[profile sso]\nsso_session = x\n")
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("botocore"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RemoteRefused, match="pip install botocore"):
        await store_at(moto, proxy, "&profile=sso").put("k", [b"x"])


async def test_from_a_web_identity(moto: Server, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ca, context = authority(tmp_path)
    (tmp_path / "token").write_text("identity-token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")
    assert told(moto).startswith("web identity")
    with roles(context) as role:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", role.endpoint)
        await store_at(moto, proxy, f"&ca={ca}").put("k", [b"x"])
    assert (keys_used(proxy), role.given) == (["ROLE0"], ["web identity"])
    assert "identity-token" in role.token


async def test_from_the_instances_role(moto: Server, proxy: FaultProxy, role: Roles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", role.endpoint)
    assert told(moto).startswith("the instance's role")
    await store_at(moto, proxy).put("k", [b"x"])
    assert (keys_used(proxy), role.given) == (["ROLE0"], ["instance"])


async def test_from_the_containers_role(
    moto: Server, proxy: FaultProxy, role: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "token").write_text("container-token")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{role.endpoint}/container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    assert told(moto).startswith("the container's role")
    await store_at(moto, proxy).put("k", [b"x"])
    assert (keys_used(proxy), role.given) == (["ROLE0"], ["container"])


async def test_anonymous_requests_are_not_signed(moto: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FROMENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(SyncdError):
        await store_at(moto, proxy, "&anonymous=true").get("k")
    assert keys_used(proxy)[0] == ""
    assert told(moto, "&anonymous=true") == "none (anonymous)"


async def test_no_credentials_at_all_is_said(moto: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(RemoteRefused, match="no credentials"):
        await store_at(moto, proxy).put("k", [b"x"])
    assert not proxy.seen


def expired(key: str) -> Any:
    def plan(asked: Asked) -> Fault | None:
        return answer(403, "ExpiredToken") if f"Credential={key}/" in asked.headers.get("authorization", "") else None

    return plan


async def test_credentials_that_expire_early_are_asked_for_anew_and_the_upload_goes_on(
    moto: Server, proxy: FaultProxy, role: Roles, monkeypatch: pytest.MonkeyPatch
):
    """The library would keep them until the time they were said to last."""
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", role.endpoint)
    inner = store_at(moto, proxy)
    store = Retry(inner, SystemClock(), random.Random(1), RetryParams(first_s=0.001))
    await store.put("one", [b"1"])
    proxy.plan = expired("ROLE0")
    await store.put("two", [b"2"])
    assert keys_used(proxy) == ["ROLE0", "ROLE0", "ROLE1"]
    assert await store.get("two") == b"2"
    with pytest.raises(RemoteUnavailable):  # a create is tried once: law L4 does the rest, with new ones
        proxy.plan = expired("ROLE1")
        await store.create("log/0", b"x")
    await store.create("log/0", b"x")


async def test_a_profile_renewed_in_its_file_is_noticed(moto: Server, proxy: FaultProxy, tmp_path: Path):
    profiles(tmp_path, STATIC.format("default", "OLD"))
    store = Retry(store_at(moto, proxy), SystemClock(), random.Random(1), RetryParams(first_s=0.001))
    await store.put("one", [b"1"])
    profiles(tmp_path, STATIC.format("default", "NEW"))
    proxy.plan = expired("OLD")
    await store.put("two", [b"2"])
    assert keys_used(proxy) == ["OLD", "OLD", "NEW"]


# The environment must not take away what the address says, nor the primitive.


async def test_an_endpoint_in_the_address_wins_over_the_environment(
    moto: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    await opened(moto, monkeypatch, proxy.endpoint).put("k", [b"x"])
    assert proxy.seen


async def test_an_endpoint_of_the_environment_is_used(moto: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch):
    opened(moto, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    await open_bucket(parse_remote(f"s3://{BUCKET}/y"), SystemClock()).put("k", [b"x"])
    assert proxy.seen


async def test_the_environment_cannot_take_the_condition_away(
    moto: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    await opened(moto, monkeypatch, proxy.endpoint).create("k", b"x")
    assert proxy.seen[0].headers["if-none-match"] == "*"


async def test_plain_http_is_spoken_only_where_the_endpoint_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    for url, plain in (
        ("s3://bucket?endpoint=https://h", False),
        ("s3://bucket", False),
        ("s3://bucket?endpoint=http://h", True),
    ):
        store = open_bucket(parse_remote(url), SystemClock())
        assert store._clients.once.client_options["allow_http"] == ("true" if plain else "false")


# Proxies and certificates.


@pytest.mark.parametrize("way", ["?ca", "AWS_CA_BUNDLE", "SSL_CERT_FILE"])
async def test_an_authority_of_ones_own(moto: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str):
    ca, context = authority(tmp_path)
    with fault_proxy(moto.port, context) as tls:
        assert tls.endpoint.startswith("https://")
        refused = opened(moto, monkeypatch, tls.endpoint)
        with pytest.raises(RemoteRefused, match="certificate"):
            await refused.put("k", [b"x"])
        if way != "?ca":
            monkeypatch.setenv(way, str(ca))
        url = moto.url(BUCKET, "x", tls.endpoint) + (f"&ca={ca}" if way == "?ca" else "")
        await open_bucket(parse_remote(url), SystemClock()).put("k", [b"x"])
        assert tls.of("PUT")


async def test_a_missing_authority_is_named(tmp_path: Path):
    with pytest.raises(RemoteRefused, match="cannot read the certificates"):
        open_bucket(parse_remote(f"s3://bucket?ca={tmp_path}/none.pem"), SystemClock())


async def test_a_proxy_is_asked_and_its_password_never_told(
    moto: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", f"http://user:proxy-SECRET@127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "")
    store = opened(moto, monkeypatch)
    await store.put("k", [b"x"])
    assert proxy.of("PUT"), "the proxy was passed by"
    proxy.plan = lambda asked: Fault(forward=False, reply_bytes=0)
    with pytest.raises(RemoteUnavailable) as caught:
        await store.put("k", [b"x"])
    assert "SECRET" not in str(caught.value) + repr(caught.value.__cause__)


async def test_azures_signed_addresses_are_never_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """With a shared access signature the signature stands in every request's address, and in the library's words."""
    monkeypatch.setenv("AZURE_STORAGE_SAS_KEY", "sv=2021&sig=sas-SECRET")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    caplog.set_level(logging.DEBUG)
    store = open_bucket(parse_remote("az://cont/x?endpoint=http://127.0.0.1:1"), SystemClock())
    with pytest.raises(RemoteUnavailable) as caught:
        await store.put("k", [b"x"])
    error = caught.value
    assert "SECRET" not in "".join([str(error), repr(error), repr(error.__cause__), caplog.text, repr(store)])
    assert found_credentials(parse_remote("az://cont/x"), os.environ) == (
        "environment (AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_SAS_KEY)"
    )
