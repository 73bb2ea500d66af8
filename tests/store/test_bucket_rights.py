"""Writers need neither delete nor list rights. Stores answer "forbidden" to such a one for what is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.errors import NotFound, RemoteRefused
from syncd.store.bucket import BucketStore
from tests.kit.bucket_daemon import bucket_daemon, syncd
from tests.kit.fault_proxy import FaultProxy, answer, fault_proxy, without_rights
from tests.kit.servers import BUCKET, Server
from tests.store.conformance import keys
from tests.store.conftest import opened


@pytest.fixture
def proxy(moto: Server) -> Iterator[FaultProxy]:
    with fault_proxy(moto.port) as proxy:
        proxy.plan = without_rights
        yield proxy


@pytest.fixture
def store(moto: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> BucketStore:
    return opened(moto, monkeypatch, proxy.endpoint)


async def test_what_is_not_there_is_not_found_though_the_store_says_forbidden(store: BucketStore):
    await store.put("repo.json", [b"x"])
    assert await store.get("repo.json") == b"x"
    for verb in (store.get("log/0"), store.get("log/0", 0, 9), store.get("log/0", -9), store.stat("log/0")):
        with pytest.raises(NotFound, match="log/0"):
            await verb


async def test_before_anything_was_read_forbidden_stays_forbidden(store: BucketStore):
    """Nothing shows then that these credentials may read at all."""
    with pytest.raises(RemoteRefused):
        await store.get("repo.json")


async def test_rights_taken_away_are_not_mistaken_for_absence(store: BucketStore, proxy: FaultProxy):
    await store.put("repo.json", [b"x"])
    await store.put("log/0", [b"x"])
    await store.get("repo.json")
    with pytest.raises(NotFound):
        await store.get("log/1")
    proxy.plan = lambda asked: answer(403, "AccessDenied")
    with pytest.raises(RemoteRefused):
        await store.get("log/0")


async def test_where_absence_is_told_forbidden_means_forbidden(store: BucketStore, proxy: FaultProxy):
    await store.put("repo.json", [b"x"])
    await store.get("repo.json")
    proxy.plan = lambda asked: answer(403, "AccessDenied") if "/log/" in asked.path else None
    with pytest.raises(RemoteRefused):
        await store.get("log/0")


async def test_what_they_may_not_is_refused(store: BucketStore):
    with pytest.raises(RemoteRefused):
        await store.delete("k")
    with pytest.raises(RemoteRefused):
        await keys(store, "")


# The policy of docs/OPERATIONS.md, word for word but for names.
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": ["arn:aws:iam:::user/writer"]},
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": [f"arn:aws:s3:::{BUCKET}/least/*"],
        }
    ],
}


@pytest.mark.ceph
def test_a_policy_on_a_real_store_that_allows_neither(radosgw: Server, tmp_path: Path) -> None:
    url = radosgw.url(BUCKET, "least")
    with bucket_daemon(tmp_path / "owner", radosgw, url, start=False) as owner:
        assert syncd(owner, "init", url)["created"]
    radosgw.boto().put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(POLICY))
    writer = replace(radosgw, environ={"AWS_ACCESS_KEY_ID": "writerkey", "AWS_SECRET_ACCESS_KEY": "writersecret"})
    with pytest.raises(Exception, match="AccessDenied"):
        writer.boto().list_objects_v2(Bucket=BUCKET)
    data = tmp_path / "data"
    data.write_bytes(bytes(range(256)) * 1000)
    with bucket_daemon(tmp_path / "writer", writer, url) as node:
        node.put_done(data, name="model")
        node.get_done("model", tmp_path / "out")
        found = syncd(node, "check", url)
    assert (tmp_path / "out/data").read_bytes() == data.read_bytes()
    assert found["verdict"] == "upload-only"
    assert {look["check"]: look["mark"] for look in found["looked"]}["list"] == "note"
    with bucket_daemon(tmp_path / "elsewhere", writer, radosgw.url(BUCKET, "other"), start=False) as node:
        assert syncd(node, "check", code=8)["error"]["code"] == "remote_refused"
