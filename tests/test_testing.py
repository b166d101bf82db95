"""The public testing support does what its documentation says."""

from __future__ import annotations

import asyncio

import pytest

from pairside import testing


async def test_the_example_of_the_documentation_works() -> None:
    """A scripted agent proposes, the in-memory editor shows, a verdict travels back."""
    async with testing.server() as running:
        async with testing.Agent.connect(running) as agent:
            await agent.introduce(pid=4711)
            answer = asyncio.create_task(agent.propose("/workspace/a.py", "new text\n"))
            review = await running.editor.shown()
            running.bridge.reviews.reject(review.id, by="the test")
            assert (await answer)[0] == "DIFF_REJECTED"
            assert [client.pid for client in running.bridge.clients] == [4711]
    assert [departure.why.code for departure in running.bridge.clients.departures] == [1000]


async def test_a_stalled_editor_stalls_nobody_but_those_who_need_it() -> None:
    """While the editor answers nothing, what it is not needed for is answered at once."""
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        with running.editor.stalled():
            waiting = asyncio.create_task(agent.call("getOpenEditors"))
            assert (await agent.call("getWorkspaceFolders"))[0].startswith('{"success":true')
            assert await agent.request("ping") == {}
            assert not waiting.done()
        assert await waiting == ['{"tabs":[]}']


async def test_errors_reach_the_script_as_exceptions() -> None:
    """A JSON-RPC error and a tool's own failure are told apart."""
    async with testing.server() as running, testing.Agent.connect(running) as agent:
        with pytest.raises(testing.AgentError) as caught:
            await agent.call("noSuchTool")
        assert caught.value.code == -32602
        running.editor.failure = "the editor is ill"
        with pytest.raises(RuntimeError, match="ill"):
            await agent.call("getOpenEditors")
