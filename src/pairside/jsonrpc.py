"""Owns the JSON-RPC 2.0 envelope: text in, messages out, and back. It knows no method and does no I/O.

Bad input never raises anything but `RpcError` here, because a peer must be answered and nothing else may
happen. Lone surrogates (JavaScript can send `"\\ud800"`) are valid JSON that a strict decoder refuses, so the
standard library's decoder is asked a second time before such a text is called unparsable.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, NoReturn, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")
Id: TypeAlias = int | str

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
OVERLOADED = -32000

BATCH_CHARACTERS = 1024 * 1024
BATCH_MESSAGES = 1000
VALUES = 200_000
"""Of a text with more values than this none is made where no type says what they are: each takes 20 times its text."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_EMPTY = msgspec.Raw(b"{}")


class RpcError(Exception):
    """The only exception that has a place on the wire. Its message is shown to the peer: nothing internal in it."""

    def __init__(self, code: int, message: str, data: Any = None, *, id: Id | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.id = id
        """The id of the request that was at fault, where it could be read."""


@functools.cache
def _holder(name: str) -> type[msgspec.Struct]:
    """A type that takes one member of an object and passes over the others."""
    return msgspec.defstruct(
        "Holder", [("value", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)], rename={"value": name}
    )


class Raw:
    """A JSON value not yet looked at: text as it came, or a value decoded by the lenient decoder."""

    __slots__ = ("_text", "_value")

    def __init__(self, text: msgspec.Raw | None, value: Any = None) -> None:
        self._text = text
        self._value = value

    def member(self, name: str) -> Raw | None:
        """The member `name` of an object, not looked at either; None if there is none, or this is no object."""
        if self._text is None:
            value = self._value
            return Raw(None, value[name]) if isinstance(value, dict) and name in value else None
        try:
            found = msgspec.json.decode(self._text, type=_holder(name)).value  # type: ignore[attr-defined]
        except msgspec.ValidationError:
            return None
        except (msgspec.DecodeError, UnicodeError):
            return Raw(None, _lenient(str(memoryview(self._text), "utf-8"))).member(name)
        return None if found is msgspec.UNSET else Raw(found)

    def anything(self) -> Any:
        """The value, whatever it is.

        Raises:
            RpcError: It has more than `VALUES` values.
        """
        return self._value if self._text is None else _lenient(str(memoryview(self._text), "utf-8"))

    def to(self, type: type[T]) -> T:
        """The value as `type`.

        Raises:
            RpcError: -32602 with the path of the argument that does not fit.
        """
        try:
            if self._text is not None:
                try:
                    return msgspec.json.decode(self._text, type=type)
                except msgspec.ValidationError:
                    raise
                except (msgspec.DecodeError, UnicodeDecodeError):
                    return msgspec.convert(_lenient(str(memoryview(self._text), "utf-8")), type)
            return msgspec.convert(self._value, type)
        except msgspec.ValidationError as error:
            raise RpcError(INVALID_PARAMS, f"Invalid params: {error}") from None
        except UnicodeEncodeError:  # msgspec's own complaint quotes what it cannot encode
            raise RpcError(INVALID_PARAMS, "Invalid params: a text that is not Unicode") from None
        except RecursionError:
            raise RpcError(INVALID_PARAMS, "Invalid params: nested too deeply") from None


class Request(msgspec.Struct, frozen=True):
    """Somebody asks; an answer with the same id is owed."""

    id: Id
    method: str
    params: Raw


class Notification(msgspec.Struct, frozen=True):
    """Somebody tells; no answer is owed, not even to a bad one."""

    method: str
    params: Raw


class Response(msgspec.Struct, frozen=True):
    """The answer to a request of ours. Never answered itself, however odd: two peers would answer for ever."""

    id: Id | None
    result: Raw | None
    error: RpcError | None


class Batch(msgspec.Struct, frozen=True):
    """Several messages in one array (JSON-RPC 2.0 §6); a message that was bad stands as its error."""

    messages: tuple[Request | Notification | Response | RpcError, ...]


Message: TypeAlias = Request | Notification | Response


class _Envelope(msgspec.Struct):
    jsonrpc: str | msgspec.UnsetType = msgspec.UNSET
    id: int | str | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Odd(msgspec.Struct):
    """An envelope of which something is not what it should be; nothing is made of it before it is looked at."""

    jsonrpc: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Error(msgspec.Struct):
    code: int
    message: str


_envelope = msgspec.json.Decoder(_Envelope)
_odd = msgspec.json.Decoder(_Odd)
_array = msgspec.json.Decoder(list[msgspec.Raw])
_anything = msgspec.json.Decoder(msgspec.Raw)
_encoder = msgspec.json.Encoder()


def parse(text: str | bytes) -> Message | Batch:
    """One message, or a batch of them.

    Raises:
        RpcError: -32700 where it is no JSON at all, -32600 where it is JSON but no message.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()  # whole: the decoder does not look into what it skips
        except UnicodeDecodeError:
            raise RpcError(PARSE_ERROR, "Parse error: not UTF-8") from None
    try:
        try:
            return _message(_envelope.decode(text))
        except msgspec.ValidationError:
            return _message(_odd.decode(text))
    except msgspec.ValidationError as error:
        return _not_an_object(text, error)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return _second_opinion(text, error)


def _not_an_object(text: str, why: msgspec.ValidationError) -> Message | Batch:
    try:
        # Looked through without making anything of it: an array of nothing but commas would cost gigabytes.
        _anything.decode(text)
        if len(text) > BATCH_CHARACTERS:
            raise RpcError(INVALID_REQUEST, "Invalid Request: the batch is too long")
        elements = _array.decode(text)
    except msgspec.ValidationError:
        raise RpcError(INVALID_REQUEST, f"Invalid Request: {why}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return _second_opinion(text, error)
    if not elements:
        raise RpcError(INVALID_REQUEST, "Invalid Request: an empty batch")
    if len(elements) > BATCH_MESSAGES:
        raise RpcError(INVALID_REQUEST, "Invalid Request: the batch is too long")
    return Batch(tuple(_element(bytes(element)) for element in elements))


def _element(text: bytes) -> Message | RpcError:
    """One message of a batch. A batch inside a batch is none, and is not looked into however deep it goes."""
    try:
        if text[:1] != b"{":
            raise RpcError(INVALID_REQUEST, "Invalid Request: not an object")
        message = parse(text)
    except RpcError as error:
        return error
    assert not isinstance(message, Batch)
    return message


def _second_opinion(text: str, error: Exception) -> Message | Batch:
    """Decode with the standard library what may only have been refused for its lone surrogates."""
    if isinstance(error, RecursionError):
        raise RpcError(PARSE_ERROR, "Parse error: nested too deeply") from None
    if not _SURROGATE.search(text):
        raise RpcError(PARSE_ERROR, "Parse error: not JSON") from None
    value = _lenient(text)
    if isinstance(value, dict):
        return _message_of(value)
    if isinstance(value, list) and 0 < len(value) <= BATCH_MESSAGES:
        return Batch(tuple(_element_of(element) for element in value))
    raise RpcError(INVALID_REQUEST, "Invalid Request: not an object")


def _lenient(text: str) -> Any:
    if _is_bulky(text):
        raise RpcError(INVALID_REQUEST, "Invalid Request: too many values")
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise RpcError(PARSE_ERROR, "Parse error: nested too deeply") from None
    except ValueError:
        raise RpcError(PARSE_ERROR, "Parse error: not JSON") from None


def _is_bulky(text: str) -> bool:
    """Whether a text has more than `VALUES` values. What it quotes, a proposed text for example, counts for nothing."""
    if _openings(text) <= VALUES:
        return False
    text = text.replace("\\\\", "").replace('\\"', "")  # what is left of quotes are the ends of strings
    return text.count('"') > 4 * VALUES or _openings("".join(text.split('"')[::2])) > VALUES


def _openings(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _element_of(value: Any) -> Message | RpcError:
    if not isinstance(value, dict):
        return RpcError(INVALID_REQUEST, "Invalid Request: not an object")
    try:
        return _message_of(value)
    except RpcError as error:
        return error


def _message_of(value: dict[str, Any]) -> Message:
    def raw(key: str) -> Raw | msgspec.UnsetType:
        return Raw(None, value[key]) if key in value else msgspec.UNSET

    unset = msgspec.UNSET
    return _checked(
        value.get("jsonrpc", unset), value.get("id", unset), value.get("method", unset),
        raw("params"), raw("result"), raw("error"),
    )  # fmt: skip


def _message(envelope: _Envelope | _Odd) -> Message:
    def raw(value: msgspec.Raw | msgspec.UnsetType) -> Raw | msgspec.UnsetType:
        return value if isinstance(value, msgspec.UnsetType) else Raw(value)

    return _checked(
        _scalar(envelope.jsonrpc), _scalar(envelope.id), _scalar(envelope.method),
        raw(envelope.params), raw(envelope.result), raw(envelope.error),
    )  # fmt: skip


def _scalar(value: Any) -> Any:
    """What a member is that has to be a text or a number; None for what is neither, however much there is of it."""
    if not isinstance(value, msgspec.Raw):
        return value
    if bytes(memoryview(value)[:1]) in (b"[", b"{"):
        return None
    try:
        return msgspec.json.decode(value)
    except msgspec.ValidationError:  # a number that is out of range
        return None


def _checked(
    version: Any,
    id: Any,
    method: Any,
    params: Raw | msgspec.UnsetType,
    result: Raw | msgspec.UnsetType,
    error: Raw | msgspec.UnsetType,
) -> Message:
    """The message that these members make (JSON-RPC 2.0 §4 and §5; MCP forbids a null id)."""
    unset = msgspec.UNSET
    known_id: Id | None = id if isinstance(id, (int, str)) and not isinstance(id, bool) else None
    if version != "2.0":
        raise RpcError(INVALID_REQUEST, 'Invalid Request: jsonrpc must be "2.0"', id=known_id)
    if method is unset and (result is not unset or error is not unset):
        return Response(known_id, None if isinstance(result, msgspec.UnsetType) else result, _wire_error(error))
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "Invalid Request: method must be a string", id=known_id)
    if id is not unset and known_id is None:
        raise RpcError(INVALID_REQUEST, "Invalid Request: id must be a string or an integer")
    given = Raw(_EMPTY) if isinstance(params, msgspec.UnsetType) else params
    if id is unset:
        return Notification(method, given)
    assert known_id is not None
    return Request(known_id, method, given)


def _wire_error(error: Raw | msgspec.UnsetType) -> RpcError | None:
    if isinstance(error, msgspec.UnsetType):
        return None
    try:
        body = error.to(_Error)
    except RpcError:
        return RpcError(INTERNAL_ERROR, "an error of the wrong shape")
    data = error.member("data")
    try:
        return RpcError(body.code, body.message, None if data is None else data.anything())
    except RpcError:  # it is too much
        return RpcError(body.code, body.message)


def encode(value: Any) -> str:
    """`value` as JSON text. A lone surrogate or an id beyond 64 bits goes out as it came in."""
    try:
        return _encoder.encode(value).decode()
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(msgspec.to_builtins(value))


def request(id: Id, method: str, params: Any) -> str:
    """The text of a request."""
    return encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def notification(method: str, params: Any) -> str:
    """The text of a notification."""
    return encode({"jsonrpc": "2.0", "method": method, "params": params})


def result(id: Id, value: Any) -> dict[str, Any]:
    """A successful answer, not yet encoded (answers to a batch travel together)."""
    return {"jsonrpc": "2.0", "id": id, "result": value}


def failure(id: Id | None, error: RpcError) -> dict[str, Any]:
    """An error answer, not yet encoded; the id is null where the request's could not be read."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return {"jsonrpc": "2.0", "id": id, "error": body}
