"""Every message survives the wire; a newer peer's fields are ignored, its verbs are refused by name."""

from __future__ import annotations

import copy
import pickle
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd_client.wire import codec, errors, messages
from syncd_client.wire.errors import WireError
from syncd_client.wire.frames import FrameReader, decode_frame
from tests.kit.wire_messages import CLASSES, JSON, TEXT, any_of

REQUESTS = list(messages.REQUESTS.values())


def _read(frame: bytes) -> dict:
    (payload,) = FrameReader().feed(frame)
    return payload


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_message_survives_the_wire(cls):
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(any_of(cls), st.integers(1, (1 << 63) - 1))
    def survives(message, number):
        if isinstance(message, messages.Request):
            assert codec.decode_client_frame(_read(codec.encode_request(number, message))) == (number, message)
        answered, kind, body = codec.decode_server_frame(_read(codec.encode_reply(number, message)))
        assert (answered, kind, codec.build(cls, body)) == (number, "ok", message)

    survives()


@settings(max_examples=30, deadline=None)
@given(any_of(messages.JobInfo), any_of(messages.ErrorInfo))
def test_events_and_errors_survive_the_wire(job, error):
    answered, kind, body = codec.decode_server_frame(_read(codec.encode_event(7, "job", job)))
    assert (answered, kind, codec.build(messages.EVENTS[kind], body)) == (7, "job", job)
    answered, kind, body = codec.decode_server_frame(_read(codec.encode_error(0, error)))
    assert (answered, kind, codec.build(messages.ErrorInfo, body)) == (0, "error", error)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(REQUESTS).flatmap(any_of), st.dictionaries(TEXT.map("new_".__add__), JSON, max_size=3))
def test_fields_of_a_newer_peer_are_ignored(request, extra):
    payload = {"id": 1, "op": request.op, "body": {**codec.to_body(request), **extra}, **extra}
    assert codec.decode_client_frame(payload) == (1, request)


def test_absent_fields_have_their_defaults():
    body = {"draft": "d", "name": "n", "type": "t"}
    _, request = codec.decode_client_frame({"id": 1, "op": "log", "body": body})
    assert request == messages.Log("d", "n", "t")
    assert codec.decode_client_frame({"id": 1, "op": "status"}) == (1, messages.Status())


def test_an_unknown_verb_is_a_typed_error_that_can_be_answered():
    with pytest.raises(WireError, match="teleport") as caught:
        codec.decode_client_frame({"id": 9, "op": "teleport", "body": {}})
    assert (caught.value.code, caught.value.request, caught.value.fatal) == ("unknown_verb", 9, False)


@pytest.mark.parametrize(
    ("op", "body", "field"),
    [
        ("show_job", {}, "job"),
        ("show_job", {"job": 3}, "job"),
        ("show_job", {"job": None}, "job"),
        ("show_job", [], "ShowJob"),
        ("list_jobs", {"limit": True}, "limit"),
        ("list_jobs", {"limit": 1.5}, "limit"),
        ("list_jobs", {"open_only": 1}, "open_only"),
        ("wait", {"timeout": "1"}, "timeout"),
        ("wait", {"jobs": "abc"}, "jobs"),
        ("wait", {"jobs": [1]}, "jobs"),
        ("add_file", {"draft": "d", "path": "text"}, "path"),
        ("log", {"draft": "d", "name": "n", "type": "t", "metadata": []}, "metadata"),
        ("log", {"draft": "d", "name": "n", "type": "t", "run": {}}, "id"),
    ],
)
def test_a_wrong_field_is_named_and_can_be_answered(op, body, field):
    with pytest.raises(WireError, match=field) as caught:
        codec.decode_client_frame({"id": 4, "op": op, "body": body})
    assert (caught.value.code, caught.value.request) == ("invalid", 4)


@pytest.mark.parametrize(
    "payload", [{}, {"id": 0, "op": "ping"}, {"id": "1", "op": "ping"}, {"id": True, "op": "ping"}]
)
def test_a_request_without_a_usable_id_breaks_the_connection(payload):
    with pytest.raises(WireError) as caught:
        codec.decode_client_frame(payload)
    assert caught.value.fatal


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["id", "op", "body", "ok", "error", "event"]), JSON))
def test_any_envelope_is_understood_or_a_wire_error(payload):
    for decode in (codec.decode_client_frame, codec.decode_server_frame):
        with suppress(WireError):
            decode(payload)


def test_whole_numbers_may_stand_where_fractions_are_meant():
    _, request = codec.decode_client_frame({"id": 1, "op": "wait", "body": {"timeout": 3}})
    assert request == messages.Wait(timeout=3.0)
    assert isinstance(request.timeout, float)


def test_event_kinds_cannot_be_taken_for_answers():
    assert not {codec.OK, codec.ERROR} & set(messages.EVENTS)


def test_every_error_code_has_an_exit_code_and_unknown_ones_count_as_failed():
    from syncd.errors import SyncdError

    known = {SyncdError.code, *(cls.code for cls in SyncdError.__subclasses__())}
    assert known <= set(errors.EXIT)
    assert errors.exit_code("a newer daemon's") == 1
    assert (errors.exit_code("not_found"), errors.exit_code("timeout"), errors.exit_code("corrupt")) == (4, 7, 9)


def test_messages_are_frozen_values():
    message = messages.ShowJob("j")
    with pytest.raises(AttributeError):
        message.job = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del message.job
    assert replace(message, job="k") == messages.ShowJob("k") == messages.ShowJob(job="k") != message
    assert hash(message) == hash(messages.ShowJob("j"))
    assert copy.copy(message) == pickle.loads(pickle.dumps(message)) == message
    assert messages.DropDraft("j") != message
    assert repr(message) == "ShowJob(job='j')"
    assert all(is_dataclass(cls) for cls in CLASSES)
    assert messages.Welcome.__match_args__ == tuple(one.name for one in fields(messages.Welcome))


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), (("j", 1), {}), (("j",), {"job": "j"}), (("j",), {"other": 1}), ((), {"other": 1})]
)
def test_messages_take_their_fields_and_no_others(values, named):
    with pytest.raises(TypeError):
        messages.ShowJob(*values, **named)


def test_lists_and_maps_of_one_message_are_its_own():
    assert messages.Wait().jobs is not messages.Wait().jobs


def test_golden_bytes_of_protocol_1():
    frame = codec.encode_request(1, messages.ShowJob("j"))
    assert (
        frame.hex(" ")
        == "00 00 00 1d 83 a2 69 64 01 a2 6f 70 a8 73 68 6f 77 5f 6a 6f 62 a4 62 6f 64 79 81 a3 6a 6f 62 a1 6a"
    )
    assert decode_frame(msgpack.packb({"id": 1, "ok": {}})) == {"id": 1, "ok": {}}
