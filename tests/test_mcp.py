"""The conversation with an agent, over a real loopback socket: methods, bad input, and what is told unasked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import pytest

import pairside
from pairside import testing
from pairside.agents.claude import mcp
from pairside.agents.claude.mcp import NOTHING_SELECTED
from pairside.clients import Client
from pairside.editor import Diagnostic, Position, Range, Selection, Severity
from pairside.images import Image
from pairside.limits import Limits
from pairside.mentions import Mention
from pairside.peer import Reason
from pairside.reviews import NotPending, Outcome
from pairside.testing import AgentError
from pairside.tools import diagnostics as diagnostics_tool
from pairside.tools.all import toolbox

from .raw import BINARY, TEXT, RawClient, frame
from .until import until

PING = {"jsonrpc": "2.0", "id": "ping", "method": "ping"}
PONG = {"jsonrpc": "2.0", "id": "ping", "result": {}}
WITH_BATCHES = "2025-03-26"


@contextlib.asynccontextmanager
async def line(
    version: str | None = None, limits: Limits | None = None
) -> AsyncIterator[tuple[testing.Running, RawClient]]:
    """A server, and a connection of plain bytes to it; initialized if a version is given."""
    async with testing.server(limits=limits) as running:
        client = await RawClient.open(running.port, running.token)
        try:
            if version is not None:
                await client.say(
                    {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": version}}
                )
                assert (await client.answer())["result"]["protocolVersion"] == version
            yield running, client
        finally:
            client.close()


async def asked(client: RawClient, text: str | bytes, *, opcode: int = TEXT) -> list[Any]:
    """What comes back for a text, up to the answer to a call sent after it that has a task of its own too."""
    await client.send(frame(opcode, text if isinstance(text, bytes) else text.encode()))
    await client.call("marker", "getOpenEditors")
    answers = []
    while not isinstance(answer := await client.answer(), dict) or answer.get("id") != "marker":
        answers.append(answer)
    return answers


def request(method: str = "ping", id: Any = 1, **more: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, **more})


# JSON-RPC.


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        ("garbage", -32700, None),
        ("", -32700, None),
        ('{"jsonrpc":"2.0","id":1,', -32700, None),
        ("NaN", -32700, None),
        ("[" * 100_000, -32700, None),
        (f'{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{DEEP}}}}}', -32700, None),
        ("5", -32600, None),
        ('"ping"', -32600, None),
        ("true", -32600, None),
        ("null", -32600, None),
        ("[]", -32600, None),
        ("{}", -32600, None),
        ('{"id":7,"method":"ping"}', -32600, 7),
        ('{"jsonrpc":"1.0","id":7,"method":"ping"}', -32600, 7),
        ('{"jsonrpc":"2.0","id":7}', -32600, 7),
        ('{"jsonrpc":"2.0","id":7,"method":5}', -32600, 7),
        ('{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
        ('{"jsonrpc":"2.0","id":false,"method":"ping"}', -32600, None),
        ('{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, None),
        ('{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600, None),
        (request("nothing/of/the/kind"), -32601, 1),
        (request("nothing", id="\ud800"), -32601, "\ud800"),
        (request("ping", params=None), -32602, 1),
        (request("ping", params=[1]), -32602, 1),
        (request("tools/list", params="x"), -32602, 1),
        (request("tools/call"), -32602, 1),
        (request("tools/call", params={"name": 5}), -32602, 1),
        (request("tools/call", params={"name": "nothing"}), -32602, 1),
        (request("tools/call", params={"name": "\ud800"}), -32602, 1),
        (request("tools/call", params={"name": "getDiagnostics", "arguments": None}), -32602, 1),
        (request("tools/call", params={"name": "getDiagnostics", "arguments": ["x"]}), -32602, 1),
        (request("tools/call", params={"name": "getDiagnostics", "_meta": 5}), -32602, 1),
        (request("initialize", params={"protocolVersion": 1}), -32602, 1),
        (request("initialize", params={"clientInfo": {}}), -32602, 1),
        (request("initialize", params={"protocolVersion": "x", "clientInfo": {"name": 1}}), -32602, 1),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else None,
)
async def test_bad_input_is_answered_with_its_error_and_the_conversation_goes_on(
    text: str, code: int, id: int | str | None
) -> None:
    """One error with the right code and the id where it could be read; nothing internal in it."""
    async with line() as (running, client):
        (answer,) = await asked(client, text)
        assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", id, code)
        assert "Traceback" not in answer["error"]["message"]
        assert len(running.bridge.clients) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","method":"nothing/of/the/kind"}',
        '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        '{"jsonrpc":"2.0","method":"notifications/cancelled"}',
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}',
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"unknown"}}',
        '{"jsonrpc":"2.0","method":"ping","params":5}',
        '{"jsonrpc":"2.0","id":77,"result":{}}',
        '{"jsonrpc":"2.0","id":77,"error":null}',
        '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}',
        '{"jsonrpc":"2.0","result":1,"error":2}',
    ],
)
async def test_a_notification_or_an_answer_is_never_answered(text: str) -> None:
    """Unknown, bad, or to nothing that was asked."""
    async with line() as (_, client):
        assert await asked(client, text) == []


@pytest.mark.parametrize("id", [0, -1, 2**63 - 1, 2**63, 2**64, 10**40, "", "0", "é😀", "\ud800"])
async def test_the_answer_has_the_id_of_the_request(id: int | str) -> None:
    """Zero, which is the client's first, any string, and numbers beyond 64 bits."""
    async with line() as (_, client):
        (answer,) = await asked(client, request(id=id))
        assert (answer["id"], type(answer["id"])) == (id, type(id))
        assert answer["result"] == {}


async def test_an_id_in_flight_cannot_be_used_twice_and_is_free_again_afterwards() -> None:
    """The second request is an error; the first is answered. The number 1 and the text "1" are two ids."""
    async with line() as (running, client):
        await propose(client, 1)
        await running.editor.shown()
        (answer,) = await asked(client, request(id=1))
        assert (answer["id"], answer["error"]["code"]) == (1, -32600)
        (answer,) = await asked(client, request(id="1"))
        assert answer["result"] == {}
        (review,) = running.bridge.reviews
        running.bridge.reviews.reject(review.id, by="me")
        assert (await client.answer(1))["result"]["content"][0]["text"] == "DIFF_REJECTED"
        assert (await asked(client, request(id=1)))[0]["result"] == {}


async def propose(client: RawClient, id: Any, *, path: str = "/workspace/a.py", text: str = "x") -> None:
    """Ask for a verdict; the answer is to be read."""
    await client.call(
        id, "openDiff", old_file_path=path, new_file_path=path, new_file_contents=text, tab_name=f"tab {id}"
    )


CANCEL = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}'
PROPOSE = request(
    "tools/call",
    id=2,
    params={
        "name": "openDiff",
        "arguments": {"old_file_path": "/w/a", "new_file_path": "/w/a", "tab_name": "t", "new_file_contents": "x"},
    },
)


@pytest.mark.parametrize("version", mcp.VERSIONS)
async def test_only_the_revision_that_has_batches_takes_them(version: str) -> None:
    """2025-03-26 answers them as JSON-RPC 2.0 §6 wants it; for the others a batch is an invalid request."""
    batch = json.dumps(
        [
            json.loads(request(id=1)),
            {"jsonrpc": "2.0", "method": "nothing"},
            5,
            {"id": 3},
            json.loads(request("nothing", id=2)),
        ]
    )
    async with line(version) as (_, client):
        (answer,) = await asked(client, batch)
        if version != WITH_BATCHES:
            assert (answer["id"], answer["error"]["code"]) == (None, -32600)
            return
        told = sorted((str(one["id"]), one.get("result"), one.get("error", {}).get("code")) for one in answer)
        assert told == [("1", {}, None), ("2", None, -32601), ("3", None, -32600), ("None", None, -32600)]


async def test_before_a_revision_is_agreed_a_batch_is_an_invalid_request() -> None:
    """Nobody said that batches are spoken."""
    async with line() as (_, client):
        (answer,) = await asked(client, f"[{request()}]")
        assert answer["error"]["code"] == -32600


async def test_a_batch_of_notifications_is_not_answered() -> None:
    """Not even with an empty array."""
    async with line(WITH_BATCHES) as (_, client):
        assert await asked(client, '[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","id":5,"result":1}]') == []


async def test_a_batch_waits_for_its_slowest_and_does_not_hold_up_others() -> None:
    """Its answers travel together, while other requests are answered."""
    async with line(WITH_BATCHES) as (running, client):
        assert await asked(client, f"[{request(id=1)},{PROPOSE}]") == []
        shown = await running.editor.shown()
        running.bridge.reviews.reject(shown.id, by="me")
        answer = await client.answer()
        assert [one["id"] for one in answer] == [1, 2]


async def test_a_call_of_a_batch_that_is_cancelled_does_not_hold_up_its_answers() -> None:
    """The others of its batch are answered then."""
    async with line(WITH_BATCHES) as (running, client):
        assert await asked(client, f"[{request(id=1)},{PROPOSE}]") == []
        await running.editor.shown()
        await client.send(frame(TEXT, CANCEL.encode()))
        assert [one["id"] for one in await client.answer()] == [1]


async def test_a_call_that_is_cancelled_by_the_batch_that_makes_it_does_not_hold_up_its_answers() -> None:
    """It has not begun then, and there is nothing of it that could still count itself out."""
    async with line(WITH_BATCHES) as (_, client):
        await client.send(frame(TEXT, f"[{request(id=1)},{PROPOSE},{CANCEL}]".encode()))
        assert [one["id"] for one in await client.answer()] == [1]


async def test_lone_surrogates_make_the_round_trip() -> None:
    """JavaScript may send half a pair; text, name and id come back as they went."""
    text, id = "\ud800 a\udc00\n😀", "\udfff"
    async with line() as (running, client):
        await client.call(
            id, "openDiff", old_file_path="/w/a", new_file_path="/w/a", new_file_contents=text, tab_name="\ud83d"
        )
        shown = await running.editor.shown()
        assert (shown.text, shown.name) == (text, "\ud83d")
        await running.bridge.reviews.accept(shown.id, by="me")
        answer = await client.answer()
        assert (answer["id"], [item["text"] for item in answer["result"]["content"]]) == (id, ["FILE_SAVED", text])


async def test_a_text_frame_that_is_not_utf8_ends_the_conversation() -> None:
    """With 1007, as RFC 6455 §8.1 wants it."""
    async with line() as (running, client):
        await client.send(frame(TEXT, b'{"a":"\xff"}'))
        assert await client.closed_with() == 1007
        await until(lambda: not running.bridge.clients, "the departure")
        (departure,) = running.bridge.clients.departures
        assert (departure.why.reason, departure.why.code) == (Reason.VIOLATION, 1007)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\xff"}}',
        b'[{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}]',
    ],
)
async def test_a_binary_frame_that_is_not_utf8_is_a_parse_error(data: bytes) -> None:
    """Wherever the bad byte stands; and the conversation goes on."""
    async with line() as (_, client):
        (answer,) = await asked(client, data, opcode=BINARY)
        assert (answer["id"], answer["error"]["code"]) == (None, -32700)


async def test_a_binary_frame_of_json_is_a_message() -> None:
    """Some clients send all they have in binary frames."""
    async with line() as (_, client):
        (answer,) = await asked(client, request(id=5).encode(), opcode=BINARY)
        assert answer == {"jsonrpc": "2.0", "id": 5, "result": {}}


# MCP.


@pytest.mark.parametrize("version", [*mcp.VERSIONS, "2099-01-01", ""])
async def test_initialize_agrees_on_a_revision_and_declares_only_tools(version: str) -> None:
    """A known revision is spoken, for an unknown one the latest is offered; name and version are the package's."""
    params = {
        "protocolVersion": version,
        "capabilities": {"roots": {"listChanged": True}, "elicitation": {}, "unheard": [1]},
        "clientInfo": {"name": "claude-code", "title": "Claude Code", "version": "2.1.330", "websiteUrl": "x"},
    }
    async with line() as (running, client):
        (answer,) = await asked(client, request("initialize", id=0, params=params))
        assert answer["result"] == {
            "protocolVersion": version if version in mcp.VERSIONS else mcp.VERSIONS[-1],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "pairside", "version": pairside.__version__},
        }
        (known,) = running.bridge.clients
        assert (known.agent, known.version) == ("Claude Code", "2.1.330")


async def test_what_a_client_calls_itself_cannot_reach_a_terminal_raw() -> None:
    """Escape sequences become visible, and names are cut."""
    info = {"name": "\x1b[2Jevil\ud800" + "x" * 1000, "version": "\x07"}
    async with line() as (running, client):
        await asked(client, request("initialize", params={"protocolVersion": "x", "clientInfo": info}))
        (known,) = running.bridge.clients
        assert known.agent.startswith("\\x1b[2Jevil\\ud800xxx")
        assert (len(known.agent), known.version) == (100, "\\x07")


async def test_the_tools_are_listed_in_their_order_with_their_schemas() -> None:
    """Every time the same, with an object on top."""
    async with line() as (running, client):
        (first,) = await asked(client, request("tools/list", params={"cursor": "ignored"}))
        second_client = await RawClient.open(running.port, running.token)
        (second,) = await asked(second_client, request("tools/list"))
        second_client.close()
        assert first["result"] == second["result"]
        tools = first["result"]["tools"]
        assert [tool["name"] for tool in tools] == [tool.name for tool in toolbox()]
        for tool in tools:
            assert tool.keys() == {"name", "description", "inputSchema"}
            assert tool["inputSchema"]["type"] == "object"


async def test_arguments_may_be_left_out_and_metadata_is_ignored() -> None:
    """The client sends a progress token with every call."""
    async with line() as (_, client):
        more: dict[str, Any]
        for more in ({}, {"arguments": {}}, {"_meta": {"progressToken": 5}}, {"unheard": 1}):
            (answer,) = await asked(client, request("tools/call", params={"name": "getWorkspaceFolders", **more}))
            assert json.loads(answer["result"]["content"][0]["text"])["rootPath"] == "/workspace"


async def test_a_failure_of_a_tool_is_a_result_and_not_an_error() -> None:
    """So the model sees it."""
    async with line() as (_, client):
        params = {"name": "getDiagnostics", "arguments": {"uri": "nothing"}}
        (answer,) = await asked(client, request("tools/call", params=params))
        assert answer["result"]["isError"] is True
        assert "must be a file:// URI" in answer["result"]["content"][0]["text"]


async def test_a_defect_is_answered_without_internals(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And logged with its traceback."""

    async def broken(self: testing.MemoryEditor) -> Any:
        raise ZeroDivisionError("secret internals")

    monkeypatch.setattr(testing.MemoryEditor, "documents", broken)
    async with line() as (_, client):
        (answer,) = await asked(client, request("tools/call", params={"name": "getOpenEditors"}))
        assert answer["error"] == {"code": -32603, "message": "Internal error"}
    assert "secret internals" in caplog.text


@pytest.mark.parametrize("id", [4, 0, -1, 2**70, "4", "", "é\ud800"])
async def test_a_call_that_is_cancelled_closes_its_review_without_an_answer(id: int | str) -> None:
    """The client's own timeout says so; the id is free at once, whatever it is."""
    async with line() as (running, client):
        await propose(client, id)
        shown = await running.editor.shown()
        cancelled = {"requestId": id, "reason": "SdkError: Request timed out"}
        text = json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        assert await asked(client, text) == []
        await until(lambda: not running.bridge.reviews, "the review is closed")
        assert running.editor.reviews == {}
        with pytest.raises(NotPending) as caught:
            running.bridge.reviews.get(shown.id)
        assert caught.value.verdict is not None
        assert caught.value.verdict.outcome is Outcome.WITHDRAWN
        assert (await asked(client, request(id=id)))[0] == {"jsonrpc": "2.0", "id": id, "result": {}}


async def test_however_many_proposals_wait_they_go_with_their_client_and_no_others() -> None:
    """None is left for somebody to decide who would be answered by nobody."""
    async with line() as (running, client):
        other = await RawClient.open(running.port, running.token)
        await propose(other, 1)
        for number in range(20):
            await propose(client, number)
        await until(lambda: len(running.bridge.reviews) == 21, "all wait")
        client.reset()
        await until(lambda: len(running.bridge.clients) == 1, "it is gone")
        (left,) = running.bridge.clients
        assert [review.client for review in running.bridge.reviews] == [left]
        assert len(running.bridge.reviews._pending) == len(running.editor.reviews) == 1
        other.close()


@pytest.mark.parametrize(
    ("params", "pid"),
    [({"pid": 4711}, 4711), ({"pid": 0}, None), ({"pid": -5}, None), ({"pid": 2**40}, None), ({}, None), (None, None)],
)
async def test_ide_connected_says_who_listens(params: Any, pid: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pid that cannot be one is not recorded, but whoever says it listens all the same."""
    monkeypatch.setattr(mcp, "SETTLE_SECONDS", 0.01)
    async with line() as (running, client):
        message = {"jsonrpc": "2.0", "method": "ide_connected", "params": params}
        assert await asked(client, json.dumps(message)) == []
        (known,) = running.bridge.clients
        assert known.pid == pid
        await until(lambda: known.ready, "it listens")


# Calls at the same time.


async def test_an_open_review_blocks_nobody() -> None:
    """Neither its own client nor another."""
    async with testing.server() as running:
        async with testing.Agent.connect(running) as one, testing.Agent.connect(running) as other:
            asking = asyncio.create_task(one.propose("/workspace/a.py", "x"))
            shown = await running.editor.shown()
            for agent in (one, other):
                async with asyncio.timeout(5):
                    await agent.request("ping")
                    assert (await agent.request("tools/list"))["tools"]
                    await agent.call("getWorkspaceFolders")
            second = asyncio.create_task(other.propose("/workspace/a.py", "y"))
            later = await running.editor.shown(2)
            running.bridge.reviews.reject(later.id, by="me")
            assert (await second)[0] == "DIFF_REJECTED"
            assert not asking.done()
            running.bridge.reviews.reject(shown.id, by="me")
            assert (await asking)[0] == "DIFF_REJECTED"


async def test_one_call_more_than_the_limit_is_refused_and_the_reader_goes_on() -> None:
    """The 65th is answered -32000; a cancellation is still seen and makes room."""
    assert Limits().calls == 64
    async with line() as (running, client):
        for id in range(64):
            await propose(client, id)
        await running.editor.shown(64)
        await client.say(PING)
        answer = await client.answer()
        assert (answer["id"], answer["error"]["code"]) == ("ping", -32000)
        assert answer["error"]["message"] == "too many calls in flight (limit 64)"
        await client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        await client.say(PING)
        assert await client.answer() == PONG
        (known,) = running.bridge.clients
        assert known.peer.calls_in_flight == 63


# The selection.


def selection(text: str = "x", path: str = "/workspace/a.py", first: int = 0) -> Selection:
    return Selection(path, text, Range(Position(first, 0), Position(first, len(text))))


async def listening(running: testing.Running, agent: testing.Agent) -> Client:
    """Introduce an agent, and wait until it is told things."""
    client = list(running.bridge.clients)[-1]
    await agent.introduce(4711)
    await until(lambda: client.ready, "it listens")
    return client


def told(agent: testing.Agent, method: str = "selection_changed") -> list[Any]:
    """What an agent was told, in order."""
    return [params for name, params in agent.told if name == method]


async def settled(agent: testing.Agent) -> None:
    """Whatever was told before has arrived."""
    await asyncio.sleep(0)
    await agent.request("ping")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients listen as soon as they say so."""
    monkeypatch.setattr(mcp, "SETTLE_SECONDS", 0.0)


async def test_a_client_is_told_what_is_selected_half_a_second_after_it_listens() -> None:
    """Earlier it would be lost, and a client that connects later knows nothing."""
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        running.bridge.select(selection("before"))
        begun = time.monotonic()
        await agent.introduce(1)
        await settled(agent)
        running.bridge.select(selection("meanwhile"))
        await settled(agent)
        assert told(agent) == []
        params = await agent.wait_told("selection_changed")
        assert 0.5 <= time.monotonic() - begun < 1.5
        assert params == {
            "text": "meanwhile",
            "filePath": "/workspace/a.py",
            "fileUrl": "file:///workspace/a.py",
            "selection": {
                "start": {"line": 0, "character": 0},
                "end": {"line": 0, "character": 9},
                "isEmpty": False,
            },
        }
        assert len(told(agent)) == 1


@pytest.mark.usefixtures("soon")
async def test_of_many_selections_the_latest_is_told() -> None:
    """Those between are skipped, an equal one is not told again, and a client that never listened is told none."""
    async with testing.server() as running:
        async with testing.Agent.connect(running) as agent, testing.Agent.connect(running) as deaf:
            client = next(iter(running.bridge.clients))
            await agent.introduce(4711)
            await until(lambda: client.ready, "it listens")
            for number in range(200):
                running.bridge.select(selection(str(number)))
            await agent.wait_told("selection_changed")
            running.bridge.select(selection("199"))
            await settled(agent)
            assert [params["text"] for params in told(agent)] == ["199"]
            running.bridge.select(selection("200"))
            await agent.wait_told("selection_changed", 2)
            await settled(deaf)
            assert [params["text"] for params in told(agent)] == ["199", "200"]
            assert told(deaf) == []


@pytest.mark.usefixtures("soon")
async def test_nothing_selected_is_told_to_whoever_was_told_something() -> None:
    """As the client reads it: no text and no range."""
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        await listening(running, agent)
        await settled(agent)
        assert told(agent) == []
        running.bridge.select(selection())
        await agent.wait_told("selection_changed")
        running.bridge.select(None)
        assert await agent.wait_told("selection_changed", 2) == NOTHING_SELECTED


@pytest.mark.usefixtures("soon")
async def test_what_is_selected_is_told_again_and_again_while_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels make the client forget it. Nothing selected is not repeated."""
    assert mcp.REPEAT_SECONDS == 15
    monkeypatch.setattr(mcp, "REPEAT_SECONDS", 0.02)
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        await listening(running, agent)
        running.bridge.select(selection())
        await agent.wait_told("selection_changed", 4)
        running.bridge.select(None)
        await until(lambda: told(agent)[-1] == NOTHING_SELECTED, "nothing is selected")
        count = len(told(agent))
        await asyncio.sleep(0.1)  # five times the interval
        assert len(told(agent)) == count
        assert all(params == told(agent)[0] for params in told(agent)[:-1])


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("character", ["x", "é", "€", "😀", "\ud800"])
async def test_a_selection_is_cut_at_a_character_and_its_range_stays(character: str) -> None:
    """What arrives is valid UTF-8, within the limit, and the line numbers stay true."""
    async with testing.server(limits=Limits(selection_bytes=1001)) as running:
        async with testing.Agent.connect(running) as agent:
            await listening(running, agent)
            running.bridge.select(selection(character * 5000))
            params = await agent.wait_told("selection_changed")
            encoded = params["text"].encode()
            assert 1001 - 4 < len(encoded) <= 1001
            assert set(params["text"]) == {character if character != "\ud800" else "\ufffd"}
            assert params["selection"]["end"] == {"line": 0, "character": 5000}


# Mentions.


@pytest.mark.usefixtures("soon")
async def test_mentions_wait_for_a_client_that_listens_and_arrive_in_order() -> None:
    """Those from before it came, and from before it listened; each once."""
    async with testing.server() as running:
        paths = [f"/workspace/{number}" for number in range(4)]
        for path in paths[:2]:
            assert await running.bridge.mention(Mention(path)) is None
        async with testing.Agent.connect(running) as agent:
            for path in paths[2:]:
                assert await running.bridge.mention(Mention(path)) is None
            await settled(agent)
            assert told(agent, "at_mentioned") == []
            client = await listening(running, agent)
            assert await running.bridge.mention(Mention("/workspace/last")) is client
            await agent.wait_told("at_mentioned", 5)
            assert [params["filePath"] for params in told(agent, "at_mentioned")] == [*paths, "/workspace/last"]
            async with testing.Agent.connect(running) as second:
                await listening(running, second)
                await settled(second)
                assert told(second, "at_mentioned") == []


@pytest.mark.usefixtures("soon")
async def test_a_mention_is_told_as_the_client_reads_it() -> None:
    """From its working directory where it lies inside, lines from 0, no key without a value."""
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        agent.cwd = "/workspace/sub"
        await listening(running, agent)
        for mention in (
            Mention("/workspace/sub/a b.py", 2, 4),
            Mention("/workspace/sub/a.py", 0),
            Mention("/workspace/subway/a.py"),
            Mention("/workspace/sub"),
        ):
            await running.bridge.mention(mention)
        await agent.wait_told("at_mentioned", 4)
        assert told(agent, "at_mentioned") == [
            {"filePath": "a b.py", "lineStart": 2, "lineEnd": 4},
            {"filePath": "a.py", "lineStart": 0, "lineEnd": 0},
            {"filePath": "/workspace/subway/a.py"},
            {"filePath": "/workspace/sub"},
        ]


@pytest.mark.usefixtures("soon")
async def test_a_working_directory_is_compared_by_its_real_path(workspace: Path, tmp_path: Path) -> None:
    """Files are named by their real paths, and the client may have come through a link."""
    (tmp_path / "link").symlink_to(workspace)
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        agent.cwd = f"{tmp_path}/link"
        await listening(running, agent)
        await running.bridge.mention(Mention(f"{workspace}/a.py"))
        assert await agent.wait_told("at_mentioned") == {"filePath": "a.py"}


@pytest.mark.usefixtures("soon")
async def test_nothing_is_made_of_capabilities_that_nobody_wants() -> None:
    """Each value would take twenty times the memory of its text, and everybody would wait while it is made."""
    async with line() as (_, client):
        params = '{"protocolVersion":"2025-11-25","capabilities":{"experimental":[' + "[]," * 500_000 + "0]}}"
        data = frame(TEXT, ('{"jsonrpc":"2.0","id":1,"method":"initialize","params":' + params + "}").encode())
        tracemalloc.start()
        try:
            await client.send(data)
            assert (await client.answer())["result"]["protocolVersion"] == "2025-11-25"
            highest = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert highest < 12 * len(data)


@pytest.mark.parametrize("capabilities", [5, None, [], "roots"])
async def test_capabilities_are_an_object(capabilities: Any) -> None:
    """Anything else is a bad request."""
    async with line() as (_, client):
        params = {"protocolVersion": "2025-11-25", "capabilities": capabilities}
        await client.say({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
        assert (await client.answer())["error"]["code"] == -32602


@pytest.mark.parametrize("answer", [{"roots": []}, {"roots": [{"uri": "nothing"}]}, {"roots": 5}, None])
async def test_a_client_that_does_not_say_where_it_works_is_told_whole_paths(answer: Any) -> None:
    """Whatever it answers when it is asked, it is told mentions and selections."""
    async with line() as (running, client):
        capabilities = {"protocolVersion": "2025-11-25", "capabilities": {"roots": {}}}
        await asked(client, request("initialize", params=capabilities))
        await client.say({"jsonrpc": "2.0", "method": "ide_connected", "params": {"pid": 1}})
        question = await client.answer()
        assert question["method"] == "roots/list"
        if answer is None:
            await client.say({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no"}})
        else:
            await client.say({"jsonrpc": "2.0", "id": question["id"], "result": answer})
        (known,) = running.bridge.clients
        await until(lambda: known.ready, "it listens")
        await running.bridge.mention(Mention("/workspace/a.py"))
        assert (await client.answer())["params"] == {"filePath": "/workspace/a.py"}


async def test_mentions_for_which_nobody_comes_expire_every_time() -> None:
    """The first wait and the ones after it alike, with a message for each."""
    async with testing.server(limits=Limits(mention_seconds=0.02)) as running:
        events = running.bridge.journal.events
        for generation in range(1, 4):
            await running.bridge.mention(Mention(f"/workspace/{generation}"))
            await until(lambda: len(running.bridge.mentions) == 0, "it expires")
            expired = [event.facts["path"] for event in events if event.kind == "mention-expired"]
            assert expired == [f"/workspace/{number}" for number in range(1, generation + 1)]


@pytest.mark.usefixtures("soon")
async def test_a_mention_goes_to_the_client_that_asked_last_and_to_it_alone() -> None:
    """The person types into that one; if it is gone the other gets it."""
    async with testing.server() as running, testing.Agent.connect(running) as one:
        first = await listening(running, one)
        async with testing.Agent.connect(running) as other:
            second = await listening(running, other)
            for agent, client in ((one, first), (other, second), (one, first), (other, second)):
                await agent.call("closeAllDiffTabs")
                assert await running.bridge.mention(Mention("/workspace/a.py")) is client
            for agent in (one, other):
                await settled(agent)
                assert len(told(agent, "at_mentioned")) == 2
        await until(lambda: len(running.bridge.clients) == 1, "the other leaves")
        assert await running.bridge.mention(Mention("/workspace/a.py")) is first


# Diagnostics: when they are answered.


def found(message: str = "m") -> Diagnostic:
    return Diagnostic(message, Severity.ERROR, Range(Position(0, 0), Position(0, 1)))


async def diagnosed(agent: testing.Agent, **arguments: str) -> tuple[list[str], float]:
    """The messages that an agent is told, and after how many seconds."""
    begun = time.monotonic()
    (text,) = await asyncio.wait_for(agent.call("getDiagnostics", **arguments), 5)
    seconds = time.monotonic() - begun
    return [one["message"] for entry in json.loads(text) for one in entry["diagnostics"]], seconds


class Linter(testing.MemoryEditor):
    """An editor whose linter looks at each changed file again after a while."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.report: Callable[[str, tuple[Diagnostic, ...]], None] = lambda path, diagnostics: None

    async def files_changed(self, paths: Collection[str]) -> Collection[str]:
        awaits = await super().files_changed(paths)
        for path in paths:
            asyncio.get_running_loop().call_later(self.seconds, self._look, path)
        return awaits

    def _look(self, path: str) -> None:
        self.found[path] = (found(Path(path).read_text()),)
        self.report(path, self.found[path])


@contextlib.asynccontextmanager
async def linted(seconds: float) -> AsyncIterator[tuple[Linter, testing.Agent]]:
    """An editor with a linter, and an agent."""
    editor = Linter(seconds)
    async with testing.server(editor) as running, testing.Agent.connect(running) as agent:
        editor.report = running.bridge.diagnostics_changed
        yield editor, agent


async def test_after_a_write_the_answer_is_held_until_the_linter_has_looked(workspace: Path) -> None:
    """The editor is told that the file changed, and what the linter finds in the new text is answered."""
    file = workspace / "a.py"
    file.write_text("old")
    path = str(file)
    async with linted(0.3) as (editor, agent):
        editor.watched.add(path)
        for text in ("first", "second"):
            await diagnosed(agent, uri=f"file://{path}")
            file.write_text(text)
            messages, seconds = await diagnosed(agent)
            assert messages == [text]
            assert 0.25 < seconds < 1.5
            messages, seconds = await diagnosed(agent)  # nothing changed since
            assert messages == [text]
            assert seconds < 0.25
        assert editor.reloaded == [path, path]


async def test_a_linter_that_never_looks_holds_the_answer_up_to_its_limit(workspace: Path) -> None:
    """1.8 s: the client waits for 2.0 s. What is known by then is answered, in time for others meanwhile."""
    assert diagnostics_tool.HOLD_SECONDS == 1.8
    path = str(workspace / "a.py")
    async with linted(3600.0) as (editor, agent):
        editor.watched.add(path)
        editor.found[path] = (found("stale"),)
        await diagnosed(agent, uri=path)
        Path(path).write_text("x")
        holding = asyncio.create_task(diagnosed(agent))
        await asyncio.wait_for(agent.request("ping"), 1)
        messages, seconds = await holding
        assert messages == ["stale"]
        assert 1.75 < seconds < 2.0


@pytest.mark.parametrize("reason", ["no baseline", "not written", "not watched", "for the model"])
async def test_the_answer_is_not_held_when_there_is_nothing_to_wait_for(workspace: Path, reason: str) -> None:
    """No question before the write, no write, no linter on that file, or a question of the model's own."""
    file = workspace / "a.py"
    file.write_text("old")
    async with linted(3600.0) as (editor, agent):
        if reason != "not watched":
            editor.watched.add(str(file))
        if reason == "for the model":
            meta = {"claudecode/toolUseId": "toolu_1"}
            params = {"name": "getDiagnostics", "arguments": {"uri": str(file)}, "_meta": meta}
            await agent.request("tools/call", params)
        elif reason != "no baseline":
            await diagnosed(agent, uri=str(file))
        if reason != "not written":
            file.write_text("new text")
        _, seconds = await diagnosed(agent)
        assert seconds < 1
        assert editor.reloaded == ([str(file)] if reason == "not watched" else [])


async def test_one_clients_write_does_not_hold_another_clients_answer(workspace: Path) -> None:
    """Who did not ask before the write waits for nothing."""
    path = str(workspace / "a.py")
    editor = Linter(3600.0)
    async with testing.server(editor) as running:
        async with testing.Agent.connect(running) as writer, testing.Agent.connect(running) as other:
            editor.watched.add(path)
            await diagnosed(writer, uri=path)
            Path(path).write_text("x")
            _, seconds = await diagnosed(other)
            assert seconds < 1


async def test_the_question_before_a_write_is_answered_although_the_editor_is_busy(workspace: Path) -> None:
    """Within 0.4 s, from what the editor last reported on its own; at 0.5 s the client gives up."""
    assert diagnostics_tool.BASELINE_SECONDS == 0.4
    path = str(workspace / "a.py")
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        running.bridge.diagnostics_changed(path, (found("pushed"),))
        running.editor.found[path] = (found("asked"),)
        assert (await diagnosed(agent, uri=path))[0] == ["asked"]
        with running.editor.stalled():
            messages, seconds = await diagnosed(agent, uri=path)
        assert messages == ["pushed"]
        assert 0.35 < seconds < 0.5
        running.editor.failure = "ill"
        assert (await diagnosed(agent, uri=path))[0] == ["pushed"]


async def test_of_an_editor_that_stays_busy_an_agent_is_told_what_it_last_reported(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time: the agent is not kept waiting, and an editor that is ill counts as a busy one."""
    monkeypatch.setattr(diagnostics_tool, "HOLD_SECONDS", 0.1)
    path = str(workspace / "a.py")
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        running.bridge.diagnostics_changed(path, (found("pushed"),))
        with running.editor.stalled():
            messages, seconds = await diagnosed(agent)
        assert messages == ["pushed"]
        assert seconds < 1
        running.editor.failure = "ill"
        assert (await diagnosed(agent))[0] == ["pushed"]
        running.bridge.diagnostics_changed(path, ())
        assert (await diagnosed(agent))[0] == []


# Writes without a review.


class Writer:
    """An agent that writes files the way Claude Code does."""

    def __init__(self, agent: testing.Agent, running: testing.Running) -> None:
        self.agent = agent
        self.running = running

    async def write(self, file: Path, data: bytes | None) -> None:
        """Ask, then write; without data delete."""
        await self.agent.call("getDiagnostics", uri=f"file://{file}")
        if data is None:
            file.unlink()
        else:
            file.write_bytes(data)

    async def written(self) -> list[tuple[str, bytes | None, bytes | None]]:
        """Ask after the write; the changes: file, before, after."""
        await self.agent.call("getDiagnostics")
        return self.changes()

    def changes(self) -> list[tuple[str, bytes | None, bytes | None]]:
        """The changes as they are listed now."""
        changes = self.running.bridge.changes

        def data(image: Image) -> bytes | None:
            return None if image.digest is None else changes.store.get(image.digest)

        return [
            (Path(change.path).name, data(change.before), data(change.after))
            for change in changes
            if not change.reviewed
        ]


@contextlib.asynccontextmanager
async def writing(limits: Limits | None = None) -> AsyncIterator[Writer]:
    """A server and an agent that writes."""
    async with testing.server(limits=limits) as running, testing.Agent.connect(running) as agent:
        yield Writer(agent, running)


async def test_every_write_without_a_review_is_noticed_exactly(workspace: Path) -> None:
    """Two edits in a row are two changes; a new file, a deleted one, bytes that are no text."""
    (a, b, new, gone) = (workspace / name for name in ("a.py", "b.bin", "new.txt", "gone"))
    a.write_bytes(b"0\r\n")
    b.write_bytes(b"\xff\0")
    gone.write_bytes(b"x")
    async with writing() as writer:
        await writer.write(a, b"1\r\n")
        await writer.write(a, b"2\r\n")
        assert writer.changes() == [("a.py", b"0\r\n", b"1\r\n")]
        first_two = [("a.py", b"0\r\n", b"1\r\n"), ("a.py", b"1\r\n", b"2\r\n")]
        assert await writer.written() == first_two
        await writer.write(new, b"")
        await writer.write(b, b"\0\xff")
        await writer.write(gone, None)
        expected = [*first_two, ("new.txt", None, b""), ("b.bin", b"\xff\0", b"\0\xff"), ("gone", b"x", None)]
        assert await writer.written() == expected
        assert await writer.written() == expected
        (client,) = writer.running.bridge.clients
        (turn,) = writer.running.bridge.changes.turns
        assert (turn.client_id, turn.agent) == (client.id, "Claude Code")
        await writer.running.bridge.settle()
        noted = [event.facts["path"] for event in writer.running.bridge.journal.events if event.kind == "change"]
        assert len(noted) == 5


async def test_a_question_without_a_write_is_no_change(workspace: Path) -> None:
    """The person said no in the terminal, or the model asked on its own."""
    file = workspace / "a.py"
    file.write_bytes(b"0")
    async with writing() as writer:
        await writer.agent.call("getDiagnostics", uri=f"file://{file}")
        assert await writer.written() == []
        params = {
            "name": "getDiagnostics",
            "arguments": {"uri": f"file://{file}"},
            "_meta": {"claudecode/toolUseId": "toolu_1"},
        }
        await writer.agent.request("tools/call", params)
        file.write_bytes(b"1")  # by somebody else
        assert await writer.written() == []


async def test_what_the_person_writes_after_a_proposal_is_not_the_agents(workspace: Path) -> None:
    """A client that asked about a file and then proposes has not written it; what it did write before, it has."""
    file, other = workspace / "a.py", workspace / "b.py"
    file.write_bytes(b"0")
    other.write_bytes(b"0")
    async with writing() as writer:
        await writer.write(other, b"1")
        for path in (file, other):
            await writer.agent.call("getDiagnostics", uri=f"file://{file}")
            proposal = asyncio.create_task(writer.agent.propose(str(path), "proposed"))
            review = await writer.running.editor.shown()
            writer.running.bridge.reviews.reject(review.id, by="the test")
            await proposal
            path.write_bytes(b"the person's")
        assert await writer.written() == [("b.py", b"0", b"1")]


async def test_a_write_after_a_rejection_is_news(workspace: Path) -> None:
    """The person said no, and the agent wrote it all the same."""
    file = workspace / "a.py"
    file.write_bytes(b"0")
    async with writing() as writer:
        proposal = asyncio.create_task(writer.agent.propose(str(file), "proposed"))
        review = await writer.running.editor.shown()
        writer.running.bridge.reviews.reject(review.id, by="the test")
        await proposal
        await writer.write(file, b"1")
        assert await writer.written() == [("a.py", b"0", b"1")]


@pytest.mark.parametrize("way", ["accepted", "closed"])
async def test_a_write_whose_review_was_here_is_not_listed(workspace: Path, way: str) -> None:
    """Accepted here, or decided in the terminal, where the client closes the proposal. The next write is listed."""
    file = workspace / "a.py"
    file.write_bytes(b"0")
    async with writing() as writer:
        asking = asyncio.create_task(writer.agent.propose(str(file), "1", name="tab"))
        shown = await writer.running.editor.shown()
        if way == "accepted":
            await writer.running.bridge.reviews.accept(shown.id, by="me")
            assert (await asking)[0] == "FILE_SAVED"
        for _ in range(2):
            await writer.agent.call("close_tab", tab_name="tab")
        await writer.write(file, b"1")
        assert await writer.written() == []
        await asking
        await writer.write(file, b"2")
        assert await writer.written() == [("a.py", b"1", b"2")]


async def test_a_write_that_follows_its_closed_proposal_in_one_breath_is_not_listed(workspace: Path) -> None:
    """The client need not wait for the answer to close_tab, nor we for the openDiff to wake; it covers one write."""
    file = workspace / "a.py"
    file.write_bytes(b"0")
    async with line() as (running, client):
        await propose(client, 1, path=str(file), text="1")
        await running.editor.shown()
        close = request("tools/call", id=2, params={"name": "close_tab", "arguments": {"tab_name": "tab 1"}})
        ask = request("tools/call", id=3, params={"name": "getDiagnostics", "arguments": {"uri": str(file)}})
        await client.send(frame(TEXT, close.encode()) + frame(TEXT, ask.encode()))
        await client.answer(3)
        file.write_bytes(b"1")
        await client.call(4, "getDiagnostics")
        await client.answer(4)
        assert [change.reviewed for change in running.bridge.changes] == [True]
        await client.call(5, "getDiagnostics", uri=str(file))
        await client.answer(5)
        file.write_bytes(b"2")
        await client.call(6, "getDiagnostics")
        await client.answer(6)
        assert [change.reviewed for change in running.bridge.changes] == [True, False]


async def test_a_rejected_proposal_does_not_hide_a_later_write(workspace: Path) -> None:
    """With the next prompt everything starts anew."""
    file = workspace / "a.py"
    file.write_bytes(b"0")
    async with writing() as writer:
        asking = asyncio.create_task(writer.agent.propose(str(file), "1"))
        shown = await writer.running.editor.shown()
        writer.running.bridge.reviews.reject(shown.id, by="me")
        await asking
        await writer.agent.call("closeAllDiffTabs")
        await writer.write(file, b"2")
        assert await writer.written() == [("a.py", b"0", b"2")]


async def test_the_last_write_of_a_client_that_dies_is_noticed(workspace: Path) -> None:
    """It is read when the client is gone, since nobody asks any more."""
    file = workspace / "a.py"
    file.write_bytes(b"0")
    async with writing() as writer:
        await writer.write(file, b"1")
        writer.agent.socket.transport.abort()
        await until(lambda: writer.changes() == [("a.py", b"0", b"1")], "the change is listed")


async def test_a_file_over_the_limit_is_noted_without_its_texts(workspace: Path) -> None:
    """That it was written is still known."""
    file = workspace / "large"
    file.write_bytes(b"x" * 101)
    async with writing(Limits(before_image_bytes=100)) as writer:
        await writer.write(file, b"y" * 102)
        assert await writer.written() == [("large", None, None)]
        (change,) = writer.running.bridge.changes
        assert change.before.note == "larger than 100 bytes"


# Contents.


async def test_ten_megabytes_travel_in_one_message_while_others_are_served(workspace: Path) -> None:
    """A proposal of 10 MB is answered whole, and another client's question is not held up meanwhile."""
    text = "𝔸 0123456789abcdef\r\n" * 450_000
    async with testing.server() as running:
        async with testing.Agent.connect(running) as one, testing.Agent.connect(running) as other:
            asking = asyncio.create_task(one.propose("/workspace/a.py", text))
            while not running.editor.reviews:
                async with asyncio.timeout(5):
                    await other.request("ping")
            shown = await running.editor.shown()
            await running.bridge.reviews.accept(shown.id, by="me")
            verdict, accepted = await asyncio.wait_for(asking, 10)
            assert (verdict, accepted == text) == ("FILE_SAVED", True)


async def test_wrong_arguments_name_the_path_on_the_wire() -> None:
    """-32602, and where in the arguments."""
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        with pytest.raises(AgentError, match=r"at `\$\.filePath`") as caught:
            await agent.call("openFile", filePath=5)
        assert caught.value.code == -32602
