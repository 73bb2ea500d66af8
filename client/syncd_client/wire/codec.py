"""Messages to frames and back: the only place that knows the envelope.

A request is `{"id", "op", "body"}`, an answer `{"id", "ok"}`, `{"id", "error"}` or `{"id", "event", "body"}`. How a
class looks on the wire is read once from its annotations; there is no second description of any message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from syncd_client.wire import messages
from syncd_client.wire.errors import INVALID, UNKNOWN_VERB, WireError
from syncd_client.wire.frames import Payload, encode_frame
from syncd_client.wire.messages import REQUESTS, ErrorInfo, Message, Request

OK = "ok"
ERROR = "error"

_M = TypeVar("_M", bound=Message)
_Reader = Callable[[Any, str], Any]
_Plan = tuple[tuple[str, _Reader, bool], ...]

_plans: dict[type[Message], _Plan] = {}


def encode_request(request_id: int, request: Request) -> bytes:
    """Return the frame of one request; ids are the client's own, above 0, never used twice on a connection."""
    return encode_frame({"id": request_id, "op": request.op, "body": to_body(request)})


def encode_reply(request_id: int, message: Message) -> bytes:
    """Return the frame that answers a request with success."""
    return encode_frame({"id": request_id, OK: to_body(message)})


def encode_event(request_id: int, kind: str, message: Message) -> bytes:
    """Return the frame of one event that belongs to a request still open."""
    return encode_frame({"id": request_id, "event": kind, "body": to_body(message)})


def encode_error(request_id: int, error: ErrorInfo) -> bytes:
    """Return the frame that answers a request with failure; id 0 speaks of the connection as a whole."""
    return encode_frame({"id": request_id, ERROR: to_body(error)})


def decode_client_frame(payload: Payload) -> tuple[int, Request]:
    """Return (id, request); WireError "protocol" without an envelope, "unknown_verb" or "invalid" else."""
    request_id = _request_id(payload, 1)
    op, body = payload.get("op"), payload.get("body", {})
    if not isinstance(op, str):
        raise WireError("a request without a verb", request=request_id)
    cls = REQUESTS.get(op)
    if cls is None:
        raise WireError(f"unknown verb: {op[:64]!r}", UNKNOWN_VERB, request_id)
    try:
        return request_id, build(cls, body)
    except WireError as error:
        raise WireError(f"{op}: {error.what}", INVALID, request_id) from None


def decode_server_frame(payload: Payload) -> tuple[int, str, Payload]:
    """Return (id, kind, body); kind is "ok", "error" or the kind of an event."""
    request_id = _request_id(payload, 0)
    if "event" in payload:
        kind, body = payload["event"], payload.get("body")
    else:
        kind = OK if OK in payload else ERROR
        body = payload.get(kind)
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise WireError("an answer is neither success, error nor event", request=request_id)
    return request_id, kind, body


def build(cls: type[_M], body: object) -> _M:
    """Return a message made from a decoded map: fields checked, unknown ones ignored, defaults filled in.

    Raises WireError "invalid", naming the field.
    """
    if not isinstance(body, dict):
        raise WireError(f"{cls.__name__} is not a map", INVALID)
    found: dict[str, Any] = {}
    for name, read, required in _plan(cls):
        if name in body:
            found[name] = read(body[name], name)
        elif required:
            raise WireError(f"the field {name!r} is missing", INVALID)
    return cls(**found)


def to_body(message: Message) -> Payload:
    """Return the map of a message, with every field."""
    return {name: _plain(getattr(message, name)) for name, _, _ in _plan(type(message))}


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return to_body(value)
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _request_id(payload: Payload, least: int) -> int:
    request_id = payload.get("id")
    if type(request_id) is not int or not least <= request_id < 1 << 63:
        raise WireError("a frame without an id")
    return request_id


def _plan(cls: type[Message]) -> _Plan:
    plan = _plans.get(cls)
    if plan is None:
        hints = get_type_hints(cls, vars(messages), {})  # not the class: a field may be called `type` or `bytes`
        plan = _plans[cls] = tuple(
            (one.name, _reader(hints[one.name]), one.default is MISSING and one.default_factory is MISSING)
            for one in _fields(cls)
        )
    return plan


def _fields(cls: type[Message]) -> tuple[Field[Any], ...]:
    if not is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is not a message")
    return fields(cls)


def _reader(hint: Any) -> _Reader:
    """Return the function that checks one annotation: scalars, optional ones, lists, maps, messages."""
    if hint is Any:
        return lambda value, where: value
    origin = get_origin(hint)
    if origin is UnionType:
        (inner,) = (arg for arg in get_args(hint) if arg is not NoneType)
        return _optional(_reader(inner))
    if origin is list:
        return _list_of(_reader(get_args(hint)[0]))
    if origin is dict:
        return _map_of(_reader(get_args(hint)[1]))
    if issubclass(hint, Message):
        return lambda value, where: build(hint, value)
    return _float if hint is float else _scalar(hint)


def _scalar(kind: type) -> _Reader:
    def read(value: Any, where: str) -> Any:
        if type(value) is not kind:
            raise WireError(f"the field {where!r} is {type(value).__name__}, not {kind.__name__}", INVALID)
        return value

    return read


def _float(value: Any, where: str) -> float:
    if type(value) not in (int, float):
        raise WireError(f"the field {where!r} is {type(value).__name__}, not a number", INVALID)
    return float(value)


def _optional(inner: _Reader) -> _Reader:
    return lambda value, where: None if value is None else inner(value, where)


def _list_of(inner: _Reader) -> _Reader:
    def read(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise WireError(f"the field {where!r} is {type(value).__name__}, not a list", INVALID)
        return [inner(item, where) for item in value]

    return read


def _map_of(inner: _Reader) -> _Reader:
    def read(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise WireError(f"the field {where!r} is {type(value).__name__}, not a map", INVALID)
        return {key: inner(item, where) for key, item in value.items()}

    return read
