"""What the other tests here rely on: a namespace that keeps the network out, a model that plays scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from . import model as endpoint
from . import netns
from .home import Home
from .model import Model, text, tool
from .until import TimedOut, until

NETNS = Path(netns.__file__)

needs_namespaces = pytest.mark.skipif(not netns.available(), reason="no network namespaces here")


def in_namespace(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a loopback-only namespace of its own."""
    return subprocess.run(
        [sys.executable, str(NETNS), "--", *command], capture_output=True, text=True, timeout=20, check=False
    )


def asked(model: Model, *messages: tuple[str, object], tools: tuple[str, ...] = ("Edit",)) -> list[str]:
    """Send one unstreamed request and return the kinds, or texts, of the blocks answered."""
    body = {
        "messages": [{"role": role, "content": content} for role, content in messages],
        "tools": [{"name": name} for name in tools],
    }
    with urllib.request.urlopen(f"{model.url}/v1/messages", json.dumps(body).encode(), timeout=5) as answer:
        return [block.get("text", block["type"]) for block in json.load(answer)["content"]]


@needs_namespaces
def test_a_command_in_the_namespace_sees_the_loopback_interface_alone() -> None:
    """Inside, `lo` is up and the only interface, so 127.0.0.1 answers and nothing else exists."""
    program = (
        "import socket; print([name for _, name in socket.if_nameindex()]);"
        "server = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(server.getsockname(), 5); print('connected')"
    )
    done = in_namespace(sys.executable, "-c", program)
    assert done.stdout.split("\n") == ["['lo']", "connected", ""], done.stderr


@needs_namespaces
def test_the_namespace_command_ends_as_its_command_does() -> None:
    """The exit status is that of the command, and 127 when there is no such command."""
    assert in_namespace("sh", "-c", "exit 7").returncode == 7
    assert in_namespace("/nonexistent/command").returncode == 127


def test_a_script_is_played_step_by_step_whatever_was_asked_before() -> None:
    """The step depends on the request's own conversation, so a repeated request gets the same answer."""
    with Model() as model:
        model.script("edit", [tool("Read", file_path="a")], lambda request: [text(request.prompt)])
        prompt = ("user", "please SCRIPT:edit")
        results = ("user", [{"type": "tool_result", "tool_use_id": "t", "content": "1"}])
        assert asked(model, prompt) == ["tool_use"]
        assert asked(model, prompt) == ["tool_use"]
        assert asked(model, prompt, ("assistant", "…"), results) == ["please SCRIPT:edit"]
        assert asked(model, prompt, ("assistant", "…"), results, ("assistant", "…")) == [endpoint.DEFAULT_ANSWER]
        assert asked(model, prompt, ("assistant", "…"), prompt) == ["tool_use"]


def test_only_the_main_loop_plays_scripts() -> None:
    """A request without the editing tools, for a title say, takes no step and is not among the requests."""
    with Model() as model:
        model.script("edit", [tool("Read", file_path="a")])
        assert asked(model, ("user", "a title for: SCRIPT:edit"), tools=()) == [endpoint.DEFAULT_ANSWER]
        assert model.requests == []


def test_a_streamed_answer_puts_a_tool_call_together_from_its_parts() -> None:
    """The arguments of a tool call arrive whole, however many events they are cut into."""
    content = "é" * endpoint.DELTA_CHARACTERS
    with Model() as model:
        model.script("write", [tool("Write", content=content)])
        body = {
            "stream": True,
            "messages": [{"role": "user", "content": "SCRIPT:write"}],
            "tools": [{"name": "Edit"}],
        }
        with urllib.request.urlopen(f"{model.url}/v1/messages", json.dumps(body).encode(), timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    parts = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
    assert len(parts) > 1
    assert json.loads("".join(parts)) == {"content": content}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_request_tells_its_prompt_its_news_and_its_tool_results_apart() -> None:
    """Neither reminders nor tool results are prompts; news are the system messages after the last user's."""
    with Model() as model:
        asked(
            model,
            ("user", [text("<system-reminder>\nold\n</system-reminder>"), text("do it")]),
            ("system", "environment"),
            ("assistant", "…"),
            (
                "user",
                [{"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [text("no")]}],
            ),
            ("system", "news"),
        )
        (request,) = model.requests
    assert request.prompt == "do it"
    assert request.news == "news"
    assert request.tool_results == [endpoint.ToolResult("t1", "no", is_error=True)]
    assert "environment" in request.system_text


def test_the_model_stops_answering_an_agent_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its limit of requests the endpoint refuses, so that neither memory nor time runs away."""
    monkeypatch.setattr(endpoint, "MAX_REQUESTS", 2)
    with Model() as model:
        for _ in range(2):
            asked(model, ("user", "again"))
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked(model, ("user", "again"))
        refused.value.close()
        assert refused.value.code == 400
        assert len(model.requests) == 2


def test_waiting_for_a_model_request_ends_with_what_came_instead() -> None:
    """A request that never comes fails the wait in time, and the message tells the prompts that did come."""
    with Model() as model:
        asked(model, ("user", "something else"))
        with pytest.raises(TimedOut, match="something else"):
            model.wait(lambda request: "expected" in request.prompt, timeout=0.1)


def test_a_wait_returns_the_value_it_waited_for_or_says_what_it_missed() -> None:
    """`until` gives back the first true value, and fails with its description after the time given."""
    values = iter([0, 0, 3])
    assert until(lambda: next(values), timeout=5, what="three") == 3
    with pytest.raises(TimedOut, match=r"not within 0\.1 s: rain"):
        until(lambda: False, timeout=0.1, what="rain")


def test_a_process_of_the_home_inherits_the_search_path_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the test run's environment holds, a process of the home is given PATH alone of it."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not for tests")
    monkeypatch.setenv("CLAUDECODE", "1")
    with Home() as home:
        environment = home.environment()
        outside = [
            name
            for name, value in environment.items()
            if value.startswith("/") and not value.startswith(f"{home.root}/")
        ]
        assert sorted(outside) == ["PATH", "SHELL"]
        assert environment["PATH"] == os.environ["PATH"]
        assert not {"ANTHROPIC_API_KEY", "CLAUDECODE"} & environment.keys()
    assert not home.root.exists()
