"""Owns the scripted model endpoint: a streaming Messages API on 127.0.0.1 that plays prepared answers.

A prompt that contains ``SCRIPT:name`` plays the script of that name: step 1 answers the prompt, step 2 the
results of step 1's tools, and so on. Nothing is remembered between requests: the step is the number of
assistant messages since the prompt, so a repeated request gets the same answer again. Past the last step,
and for every other request, the answer is `DEFAULT_ANSWER`.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, TypeAlias

from .until import TimedOut

Block: TypeAlias = dict[str, Any]
"""A content block of the Messages API."""

Step: TypeAlias = "Sequence[Block] | Callable[[ModelRequest], Sequence[Block]]"
"""One answer of the model, or a function that makes it when it is asked for."""

DEFAULT_ANSWER = "Nothing scripted."

MAX_REQUESTS = 300
MAX_BODY = 64 * 1024 * 1024
DELTA_CHARACTERS = 60_000
SOCKET_TIMEOUT = 30.0


def text(content: str) -> Block:
    """A block of plain text."""
    return {"type": "text", "text": content}


def tool(name: str, **arguments: object) -> Block:
    """A block that calls a tool of the agent; its id is given out when it is sent."""
    return {"type": "tool_use", "name": name, "input": arguments}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the agent told the model about one tool call."""

    tool_use_id: str
    text: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request for an answer, as the agent sent it; `at` is on the monotonic clock."""

    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)

    @property
    def is_conversation(self) -> bool:
        """True for the agent's main loop, which offers its editing tools; false for titles and summaries."""
        return any(tool.get("name") == "Edit" for tool in self.body.get("tools", ()))

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools offered to the model, in the agent's order."""
        return [str(tool.get("name")) for tool in self.body.get("tools", ())]

    @property
    def prompt(self) -> str:
        """The newest user message that is not only tool results, without the agent's own reminders in it."""
        return next((typed for message in reversed(self._messages("user")) if (typed := _typed_text(message))), "")

    @property
    def user_text(self) -> str:
        """Everything said to the model in the user's name, tool results included."""
        return "\n".join(_all_text(message["content"]) for message in self._messages("user"))

    @property
    def system_text(self) -> str:
        """The system prompt and every system message, where selections and new diagnostics are told."""
        parts = [self.body.get("system", ""), *(message["content"] for message in self._messages("system"))]
        return "\n".join(_all_text(part) for part in parts)

    @property
    def news(self) -> str:
        """The system messages after the newest user message: selections, new diagnostics."""
        messages = self.body.get("messages", [])
        newest = max((index for index, message in enumerate(messages) if message["role"] == "user"), default=-1)
        return "\n".join(_all_text(message["content"]) for message in messages[newest + 1 :])

    @property
    def tool_results(self) -> list[ToolResult]:
        """The results of all tool calls of the conversation, oldest first."""
        return [
            ToolResult(block["tool_use_id"], _all_text(block.get("content")), bool(block.get("is_error")))
            for message in self._messages("user")
            for block in _blocks(message["content"])
            if block.get("type") == "tool_result"
        ]

    def script(self, names: Sequence[str] | set[str]) -> tuple[str, int] | None:
        """The script this request plays, out of `names`, and the 0-based step; None when it plays none."""
        playing: tuple[str, int] | None = None
        for message in self.body.get("messages", ()):
            if message["role"] == "assistant" and playing is not None:
                playing = (playing[0], playing[1] + 1)
            elif message["role"] == "user":
                marks = [name for name in re.findall(r"SCRIPT:(\w+)", _all_text(message["content"])) if name in names]
                if marks:
                    playing = (marks[-1], 0)
        return playing

    def _messages(self, role: str) -> list[dict[str, Any]]:
        return [message for message in self.body.get("messages", ()) if message["role"] == role]


class Model:
    """A model endpoint on a free port of 127.0.0.1, listening from its making until `close`.

    At most 300 requests are answered, so that an agent in a loop fails a test instead of filling the memory.
    """

    def __init__(self) -> None:
        self._scripts: dict[str, Sequence[Step]] = {}
        self._requests: list[ModelRequest] = []
        self._strays: list[str] = []
        self._arrived = threading.Condition()
        self._ids = itertools.count(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _endpoint(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base URL that agents are given."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def script(self, name: str, *steps: Step) -> None:
        """Define what a prompt with ``SCRIPT:name`` plays."""
        if not re.fullmatch(r"\w+", name):
            raise ValueError(f"a script's name is one word: {name!r}")
        with self._arrived:
            self._scripts[name] = steps

    @property
    def requests(self) -> list[ModelRequest]:
        """The requests of the agents' main loops so far, oldest first."""
        with self._arrived:
            return [request for request in self._requests if request.is_conversation]

    @property
    def strays(self) -> list[str]:
        """Method and path of every request to something that this endpoint does not have."""
        with self._arrived:
            return list(self._strays)

    def wait(self, condition: Callable[[ModelRequest], object], *, timeout: float = 30.0) -> ModelRequest:
        """Return the first request of a main loop that fulfils `condition`, past ones included.

        Raises:
            TimedOut: none came within `timeout` seconds.
        """

        def found() -> list[ModelRequest]:
            return [request for request in self._requests if request.is_conversation and condition(request)]

        with self._arrived:
            if not self._arrived.wait_for(found, timeout):
                prompts = [request.prompt for request in self._requests if request.is_conversation]
                raise TimedOut(f"no such model request within {timeout:g} s; prompts of those that came: {prompts}")
            return found()[0]

    def close(self) -> None:
        """Stop listening; answers under way are given up."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stray(self, what: str) -> None:
        with self._arrived:
            self._strays.append(what)

    def _record(self, request: ModelRequest) -> bool:
        with self._arrived:
            if len(self._requests) >= MAX_REQUESTS:
                return False
            self._requests.append(request)
            self._arrived.notify_all()
            return True

    def _answer(self, request: ModelRequest) -> list[Block]:
        with self._arrived:
            scripts = dict(self._scripts)
        blocks: Sequence[Block] = [text(DEFAULT_ANSWER)]
        playing = request.script(set(scripts)) if request.is_conversation else None
        if playing is not None:
            name, number = playing
            if number < len(scripts[name]):
                step = scripts[name][number]
                blocks = step(request) if callable(step) else step
        return [
            {**block, "id": f"toolu_{next(self._ids):06d}"} if block["type"] == "tool_use" else block
            for block in blocks
        ]

    def _message(self, request: ModelRequest) -> Block:
        return {
            "id": f"msg_{next(self._ids):06d}",
            "type": "message",
            "role": "assistant",
            "model": request.body.get("model", "scripted"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }


def _endpoint(model: Model) -> type[BaseHTTPRequestHandler]:
    """The class that http.server makes one instance of per connection, bound to `model`."""

    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = SOCKET_TIMEOUT

        def log_message(self, format: str, *arguments: object) -> None:
            """Keep quiet: standard error is the test run's."""

        def do_HEAD(self) -> None:
            self._reply(200, b"")

        def do_GET(self) -> None:
            model._stray(f"GET {self.path}")
            self._refuse(404, "not_found_error")

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            if length > MAX_BODY:
                self.close_connection = True
                self._refuse(413, "request_too_large")
                return
            body = self.rfile.read(length)
            match self.path.partition("?")[0]:
                case "/v1/messages/count_tokens":
                    self._reply(200, b'{"input_tokens": 1}')
                case "/v1/messages":
                    self._converse(ModelRequest(json.loads(body)))
                case _:
                    model._stray(f"POST {self.path}")
                    self._refuse(404, "not_found_error")

        def _converse(self, request: ModelRequest) -> None:
            if not model._record(request):
                self._refuse(400, "invalid_request_error")
                return
            blocks = model._answer(request)
            if not request.body.get("stream"):
                message = {**model._message(request), "content": blocks, "stop_reason": _stop_reason(blocks)}
                self._reply(200, json.dumps(message).encode())
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            try:
                for event in _events(model._message(request), blocks):
                    self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            except (BrokenPipeError, ConnectionResetError):
                pass  # The agent was interrupted or killed: its tests look at that, not at this.
            self.close_connection = True

        def _refuse(self, status: int, kind: str) -> None:
            error = {
                "type": "error",
                "error": {"type": kind, "message": "the scripted endpoint has no such thing"},
            }
            self._reply(status, json.dumps(error).encode())

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Endpoint


def _events(message: Block, blocks: Sequence[Block]) -> Iterator[Block]:
    """The events of a streamed answer, in the order that the Messages API documents."""
    yield {"type": "message_start", "message": message}
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            yield {"type": "content_block_start", "index": index, "content_block": text("")}
            deltas = [{"type": "text_delta", "text": block["text"]}]
        else:
            yield {"type": "content_block_start", "index": index, "content_block": {**block, "input": {}}}
            arguments = json.dumps(block["input"])
            deltas = [
                {"type": "input_json_delta", "partial_json": arguments[start : start + DELTA_CHARACTERS]}
                for start in range(0, len(arguments), DELTA_CHARACTERS)
            ]
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": _stop_reason(blocks), "stop_sequence": None}
    yield {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 1}}
    yield {"type": "message_stop"}


def _stop_reason(blocks: Sequence[Block]) -> str:
    return "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"


def _blocks(content: object) -> list[Block]:
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _typed_text(message: dict[str, Any]) -> str:
    """The text of a message without tool results and without the agent's own reminders."""
    content = message["content"]
    texts = [content] if isinstance(content, str) else [_all_text([b]) for b in _blocks(content) if b["type"] == "text"]
    return re.sub(r"(?s)<system-reminder>.*?</system-reminder>", "", "\n".join(texts)).strip()


def _all_text(content: object) -> str:
    """The text of a message's content, that of tool results included."""
    if isinstance(content, str):
        return content
    return "\n".join(
        block["text"] if block.get("type") == "text" else _all_text(block.get("content"))
        for block in _blocks(content)
        if block.get("type") in ("text", "tool_result")
    )
