"""Owns what a tool is: a typed function. Its name, description and JSON schema derive from it.

One that waits for the editor or the person is a coroutine function; one that does not is answered at once.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from pairside import jsonrpc
from pairside.bridge import Bridge
from pairside.clients import Client
from pairside.jsonrpc import Raw, RpcError


class ToolError(Exception):
    """The tool could not do what the agent asked; the message goes to the agent as a result with `isError`."""


class Call(msgspec.Struct, frozen=True):
    """Who calls a tool, and where."""

    client: Client
    bridge: Bridge
    for_model: bool = False
    """The model asked for it, rather than the agent's own machinery."""


Result: TypeAlias = str | list[str] | dict[str, Any]
"""One text, several texts, or a value that travels as JSON text."""

Content: TypeAlias = list[dict[str, str]]
"""The content items of a result, as MCP has them."""

Function: TypeAlias = Callable[..., Result | Awaitable[Result]]


class Tool:
    """A function that an agent can call by name. The keyword-only parameters of the function are its schema."""

    def __init__(self, name: str, function: Function, *, camel: bool) -> None:
        self.name = name
        self.description = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
        self._function = function
        self.waits = inspect.iscoroutinefunction(function)
        """Whether it has to wait for the editor or the person; otherwise `answer` answers at once."""
        fields: list[Any] = []
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            if parameter.kind is not parameter.KEYWORD_ONLY:
                continue
            field = (parameter.name, parameter.annotation)
            fields.append(field if parameter.default is parameter.empty else (*field, parameter.default))
        self._arguments = msgspec.defstruct(
            f"{name}_arguments",
            fields,
            kw_only=True,
            forbid_unknown_fields=True,
            rename="camel" if camel else None,
        )
        self.schema = _schema(self._arguments)

    async def __call__(self, call: Call, arguments: Raw) -> Content:
        """Run the tool; the content items of its result.

        Raises:
            RpcError: -32602 with the path of the argument that does not fit the schema.
            ToolError: The tool could not do it.
        """
        result = self._start(call, arguments)
        return _content(await result if inspect.iscoroutine(result) else result)  # type: ignore[arg-type]

    def answer(self, call: Call, arguments: Raw) -> Content:
        """Run a tool that does not wait; raises as a call of it does."""
        return _content(self._start(call, arguments))  # type: ignore[arg-type]

    def _start(self, call: Call, arguments: Raw) -> Result | Awaitable[Result]:
        given = arguments.to(self._arguments)
        return self._function(call, **{name: getattr(given, name) for name in given.__struct_fields__})


def _content(result: Result) -> Content:
    texts = result if isinstance(result, list) else [result if isinstance(result, str) else jsonrpc.encode(result)]
    return [{"type": "text", "text": text} for text in texts]


def _schema(arguments: type) -> dict[str, Any]:
    """The JSON schema of the arguments, with `type: object` on top as MCP wants it."""
    _, components = msgspec.json.schema_components([arguments])
    schema: dict[str, Any] = components[arguments.__name__]
    schema.pop("title", None)
    schema.setdefault("properties", {})
    if not schema.get("required"):
        schema.pop("required", None)
    return schema


class Toolbox:
    """The tools that agents can call, in a fixed order."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def tool(self, name: str, *, camel: bool = True) -> Callable[[Function], Function]:
        """Register a function as the tool `name`; `camel` spells its arguments in camelCase on the wire."""

        def register(function: Function) -> Function:
            assert name not in self._tools
            self._tools[name] = Tool(name, function, camel=camel)
            return function

        return register

    def include(self, other: Toolbox) -> None:
        """Take over all tools of another box."""
        assert not self._tools.keys() & other._tools.keys()
        self._tools.update(other._tools)

    def __iter__(self) -> typing.Iterator[Tool]:
        return iter(self._tools.values())

    def __getitem__(self, name: str) -> Tool:
        """The tool of this name.

        Raises:
            RpcError: -32602, as MCP has it for unknown tools.
        """
        tool = self._tools.get(name)
        if tool is None:
            raise RpcError(jsonrpc.INVALID_PARAMS, f"Unknown tool: {name[:100]}")
        return tool
