import ast
import re
import threading
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from syncd.meter import Meter
from syncd.web.metrics import CONTENT_TYPE, TABLE, plain_names, public_names, render
from tests.kit.web_kit import NOW, MadeUpFacts, busy_facts, get, made_up_status, open_door

ROOT = Path(__file__).parents[2]


def samples(body):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def counted():
    meter = Meter(threading.Lock())
    meter.add("put_bytes", 1000, remote="local")
    meter.add("remote_requests", 3, remote="local", op="put", outcome="ok")
    meter.observe("remote_request_seconds", 0.5, remote="local", op="put")
    meter.observe("remote_request_seconds", 1.5, remote="local", op="put")
    meter.add("pins_lost")
    meter.set("last_commit", NOW)
    return meter


def test_what_was_counted_appears_under_its_public_name():
    found = samples(render(counted().snapshot(), made_up_status(), busy_facts().job_list, NOW).decode())
    local = ("remote", "local")
    assert found["syncd_upload_bytes_total", (local,)] == 1000
    assert found["syncd_remote_requests_total", (("code", "ok"), ("op", "put"), local)] == 3
    assert found["syncd_remote_request_seconds_count", (("op", "put"), local)] == 2
    assert found["syncd_remote_request_seconds_sum", (("op", "put"), local)] == 2.0
    assert found["syncd_pins_lost_total", ()] == 1
    assert found["syncd_commit_conflicts_total", ()] == 0
    assert found["syncd_last_commit_timestamp_seconds", ()] == NOW
    assert found["syncd_queue_jobs", (("state", "sending"),)] == 1
    assert found["syncd_oldest_pending_seconds", ()] == 60
    assert found["syncd_build_info", (("chunker", "native-avx2"), ("version", "0.1.0"))] == 1


def test_no_artifact_or_path_is_a_label():
    body = render(counted().snapshot(), made_up_status(), busy_facts().job_list, NOW).decode()
    assert "resnet" not in body
    assert "/data" not in body


async def test_the_door_serves_them_as_prometheus_wants():
    async with open_door(MadeUpFacts()) as door:
        status, headers, body = await get(door, "/metrics")
        assert status == 200
        assert headers["content-type"] == CONTENT_TYPE
        assert samples(body)["syncd_watches", ()] == 1


def test_every_public_name_stands_in_the_document_with_its_labels_and_nothing_else_does():
    document = (ROOT / "docs/METRICS.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", document, re.MULTILINE)
    told = {name: (kind, re.findall(r"`(\w+)`", labels), words) for name, kind, labels, words in rows}
    assert told == {n.name: (n.kind.value, list(n.labels), n.help) for n in TABLE}
    assert len(set(public_names())) == len(TABLE)


def counted_somewhere():
    """The names the daemon counts by, each with the file that does."""
    return {
        (node.args[0].value, str(path.relative_to(ROOT)))
        for path in (ROOT / "syncd").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("add", "set", "observe")
        and isinstance(node.func.value, ast.Name | ast.Attribute)
        and (node.func.value.id if isinstance(node.func.value, ast.Name) else node.func.value.attr).endswith("meter")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_plain_name_the_daemon_counts_by_has_a_public_one_and_the_other_way_round():
    counted_by = counted_somewhere()
    assert plain_names() - {name for name, _ in counted_by} == set(), "in the table, and nobody ever counts it"
    assert {(name, where) for name, where in counted_by if name not in plain_names()} == set()
