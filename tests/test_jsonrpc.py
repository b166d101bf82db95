"""The JSON-RPC envelope."""

from __future__ import annotations

import functools
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairside import jsonrpc
from pairside.jsonrpc import Batch, Notification, Request, Response, RpcError

ANY = st.text(st.characters(exclude_categories=()))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner), max_leaves=10)
MEMBERS = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "other"])
ENVELOPES = st.dictionaries(MEMBERS, st.just("2.0") | VALUES)


def code(text: str | bytes) -> tuple[int, Any]:
    """The error that a text is answered with, and to which id."""
    with pytest.raises(RpcError) as caught:
        jsonrpc.parse(text)
    return caught.value.code, caught.value.id


def refusal(function: Callable[[], object]) -> RpcError | None:
    """The error that a function raises, None if it raises none; any other exception is the test's failure."""
    try:
        function()
    except RpcError as error:
        return error
    return None


@given(st.binary() | ANY | (ENVELOPES | st.lists(ENVELOPES)).map(json.dumps))
def test_no_text_raises_anything_but_an_rpc_error(text: str | bytes) -> None:
    """Whatever comes is a message, a batch, or an error that can be answered; so are params of any shape."""
    error = refusal(lambda: jsonrpc.parse(text))
    if error is not None:
        assert error.code in (jsonrpc.PARSE_ERROR, jsonrpc.INVALID_REQUEST)
        json.loads(jsonrpc.encode(jsonrpc.failure(error.id, error)))
        return
    message = jsonrpc.parse(text)
    for element in message.messages if isinstance(message, Batch) else (message,):
        if isinstance(element, Request):
            json.loads(jsonrpc.encode(jsonrpc.result(element.id, None)))
        if isinstance(element, (Request, Notification)):
            for shape in (dict[str, Any], list[int], msgspec.defstruct("Shape", ["a"])):
                error = refusal(functools.partial(element.params.to, shape))
                assert error is None or error.code == jsonrpc.INVALID_PARAMS


@given(VALUES)
def test_every_value_survives_encoding_and_parsing(value: Any) -> None:
    """Lone surrogates and integers of any size come back as they went; what is not finite becomes null."""
    finite = json.loads(json.dumps(value), parse_constant=lambda constant: None)
    message = jsonrpc.parse(jsonrpc.request("i", "m", {"value": value}))
    assert isinstance(message, Request)
    returned = message.params.to(dict[str, Any])["value"]
    # Two escapes that make a pair are one character in JSON, whoever wrote them.
    assert json.dumps(returned, ensure_ascii=True) == json.dumps(finite, ensure_ascii=True)


@pytest.mark.parametrize("id", [0, -1, 2**63, -(2**63), 2**64 + 1, 10**30, "", "a", "\ud800", "😀"])
def test_an_id_goes_back_as_it_came(id: int | str) -> None:
    """Zero, the empty string, more than 64 bits and lone surrogates are ids like any other."""
    message = jsonrpc.parse(json.dumps({"jsonrpc": "2.0", "id": id, "method": "ping"}))
    assert isinstance(message, Request)
    assert (message.id, type(message.id)) == (id, type(id))
    assert json.loads(jsonrpc.encode(jsonrpc.result(message.id, {})))["id"] == id


@pytest.mark.parametrize(
    ("text", "expected", "id"),
    [
        ("", -32700, None),
        ("{", -32700, None),
        ('{"jsonrpc":"2.0","id":1,"method":"m"} x', -32700, None),
        ("NaN", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\xff"}}', -32700, None),
        (b"\xff", -32700, None),
        ('{"jsonrpc":"2.0","id":1,"method":"m","params":"\\ud800', -32700, None),
        ("[" * 100_000, -32700, None),
        ('{"jsonrpc":"2.0","id":1,"method":"m","params":' + "[" * 100_000 + "]" * 100_000 + "}", -32700, None),
        ('{"a":"\\ud800","b":' + "[" * 100_000 + "]" * 100_000 + "}", -32700, None),
        ("null", -32600, None),
        ("5", -32600, None),
        ("true", -32600, None),
        ('"\\ud800"', -32600, None),
        ("[]", -32600, None),
        ("{}", -32600, None),
        ('{"id":7,"method":"m"}', -32600, 7),
        ('{"jsonrpc":2.0,"id":7,"method":"m"}', -32600, 7),
        ('{"jsonrpc":"2.0","id":7}', -32600, 7),
        ('{"jsonrpc":"2.0","id":7,"method":1}', -32600, 7),
        ('{"jsonrpc":"2.0","id":null,"method":"m"}', -32600, None),
        ('{"jsonrpc":"2.0","id":true,"method":"m"}', -32600, None),
        ('{"jsonrpc":"2.0","id":1.5,"method":"m"}', -32600, None),
        ('{"jsonrpc":"2.0","id":1e999,"method":"m"}', -32600, None),
        ('{"jsonrpc":"2.0","id":[1],"method":"m"}', -32600, None),
    ],
)
def test_what_is_no_message_is_an_error_with_the_id_where_it_can_be_read(
    text: str | bytes, expected: int, id: int | None
) -> None:
    """-32700 where it is no JSON, -32600 where it is JSON and no message (JSON-RPC 2.0 §5.1)."""
    assert code(text) == (expected, id)


def test_a_batch_keeps_its_order_and_its_bad_elements() -> None:
    """A bad element of a batch is an error of its own; the others are messages (JSON-RPC 2.0 §6)."""
    batch = jsonrpc.parse(
        '[{"jsonrpc":"2.0","id":1,"method":"a"},1,{"jsonrpc":"2.0","method":"b"},[],{"id":2},'
        '{"jsonrpc":"2.0","id":3,"result":0}]'
    )
    assert isinstance(batch, Batch)
    kinds = [type(element) for element in batch.messages]
    assert kinds == [Request, RpcError, Notification, RpcError, RpcError, Response]
    errors = [element for element in batch.messages if isinstance(element, RpcError)]
    assert [(error.code, error.id) for error in errors] == [(-32600, None), (-32600, None), (-32600, 2)]


def test_a_batch_with_a_lone_surrogate_is_a_batch() -> None:
    """The lenient decoder sees the same messages as the strict one."""
    batch = jsonrpc.parse('[{"jsonrpc":"2.0","id":"\\ud800","method":"a","params":{"b":"\\udc00"}},1]')
    assert isinstance(batch, Batch)
    request, error = batch.messages
    assert isinstance(request, Request)
    assert (request.id, request.params.to(dict[str, str])) == ("\ud800", {"b": "\udc00"})
    assert isinstance(error, RpcError)


def test_an_answer_is_never_an_error_however_odd() -> None:
    """Two peers that answer answers would do so for ever."""
    for text in (
        '{"jsonrpc":"2.0","id":1,"error":null}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":"x"}}',
        '{"jsonrpc":"2.0","id":null,"result":1}',
        '{"jsonrpc":"2.0","result":1,"error":{"code":1,"message":"m"}}',
    ):
        assert isinstance(jsonrpc.parse(text), Response)


def test_params_that_do_not_fit_name_the_path() -> None:
    """The error of wrong params is -32602 and says where."""
    shape = msgspec.defstruct("Shape", [("a", list[int])])
    for a, where in (([1, "x"], "$.a[1]"), (None, "$.a")):
        for junk in ("", "\ud800"):  # with a lone surrogate the other decoder is at work
            message = jsonrpc.parse(
                json.dumps({"jsonrpc": "2.0", "id": 1, "method": "m", "params": {"a": a, "b": junk}})
            )
            assert isinstance(message, Request)
            with pytest.raises(RpcError, match=where.replace("$", r"\$").replace("[", r"\[")) as caught:
                message.params.to(shape)
            assert caught.value.code == jsonrpc.INVALID_PARAMS


def test_params_left_out_are_an_empty_object() -> None:
    """A method with optional arguments need not be given any."""
    message = jsonrpc.parse('{"jsonrpc":"2.0","method":"m"}')
    assert isinstance(message, Notification)
    assert message.params.to(dict[str, Any]) == {}


@pytest.mark.parametrize("depth", [2, 300, 400, 500, 900])
def test_a_batch_in_a_batch_is_not_looked_into_however_deep_it_goes(depth: int) -> None:
    """It is one bad element, and no depth makes the parser give up with anything but an answer."""
    message = jsonrpc.parse("[" * depth + "]" * depth)
    assert isinstance(message, Batch)
    [element] = message.messages
    assert isinstance(element, RpcError)
    assert element.code == jsonrpc.INVALID_REQUEST


def test_an_array_of_nothing_costs_little_more_than_its_text() -> None:
    """A long batch is refused before anything is made of its elements."""
    text = "[" + "0," * 8_000_000 + "0]"
    tracemalloc.start()
    try:
        assert code(text) == (jsonrpc.INVALID_REQUEST, None)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(text)
    finally:
        tracemalloc.stop()
    assert code("[" + "0," * 2000 + "0]") == (jsonrpc.INVALID_REQUEST, None)
    assert code("[" + "0," * 8_000_000) == (jsonrpc.PARSE_ERROR, None)


@pytest.mark.parametrize("text", ['{"a":{"b":1},"c":2}', '{"a":{"b":1},"c":"\\ud800"}'])
def test_a_member_is_found_without_looking_at_it(text: str) -> None:
    """By either decoder; what is no object has no members."""
    raw = jsonrpc.Raw(msgspec.Raw(text.encode()))
    member = raw.member("a")
    assert member is not None
    assert member.to(dict[str, int]) == {"b": 1}
    assert raw.member("b") is None
    assert jsonrpc.Raw(msgspec.Raw(b"[1]")).member("a") is None
    assert jsonrpc.Raw(None, [1]).member("a") is None


_MUCH = "[" + "[]," * 500_000 + "0]"
_SMALL = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"jsonrpc":"2.0","method":"ping","id":' + _MUCH + "}", (-32600, None)),
        ('{"jsonrpc":' + _MUCH + ',"method":"ping","id":1}', (-32600, 1)),
        ('{"jsonrpc":"2.0","id":1,"method":' + _MUCH + "}", (-32600, 1)),
        ('["\\ud800",' + _MUCH + "]", (-32600, None)),
        ('{"jsonrpc":"2.0","method":"ping","id":1,"params":["\\ud800",' + _MUCH + "]}", (-32600, None)),
        ('{"jsonrpc":"2.0","method":"ping","id":1,"params":["\\ud800"' + ',"\\""' * 500_000 + "]}", (-32600, None)),
    ],
)
def test_nothing_is_made_of_a_million_values_that_nobody_wants(text: str, expected: tuple[int, int | None]) -> None:
    """Each would take twenty times the memory of its text, and the loop would stand still while it is made."""
    tracemalloc.start()
    try:
        found = code(text)
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == expected
    assert highest < 6 * len(text)


def test_an_error_with_a_million_values_is_an_error_without_them() -> None:
    """Of a little everything is told."""
    message = jsonrpc.parse('{"jsonrpc":"2.0","id":1,"error":{"code":5,"message":"no","data":' + _MUCH + "}}")
    assert isinstance(message, Response)
    assert message.error is not None
    assert (message.error.code, message.error.message, message.error.data) == (5, "no", None)
    message = jsonrpc.parse('{"jsonrpc":"2.0","id":1,"error":{"code":5,"message":"no","data":{"a":[1]}}}')
    assert isinstance(message, Response)
    assert message.error is not None
    assert message.error.data == {"a": [1]}


def test_what_a_text_quotes_are_no_values() -> None:
    """A proposed text with lone surrogates may have as many commas and brackets as it wants."""
    contents = '\ud800 "a", {[\\", \\\\' * 100_000
    message = jsonrpc.parse(json.dumps({**_SMALL, "params": {"contents": contents}}))
    assert isinstance(message, Request)
    member = message.params.member("contents")
    assert member is not None
    assert member.to(str) == contents
