"""Owns the tools around proposals: show one and wait for the verdict, or take it away."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

from msgspec import Meta

from pairside.bridge import Bridge
from pairside.clients import Client
from pairside.editor import EditorError
from pairside.reviews import ORIGINAL_BYTES, Original, Outcome, Review, TooMuch, Verdict, weight
from pairside.text import is_absolute
from pairside.tools import Call, Toolbox, ToolError

toolbox = Toolbox()

SAVED = "FILE_SAVED"
REJECTED = "DIFF_REJECTED"
CLOSED = "TAB_CLOSED"  # as an answer to openDiff this would mean "accepted"


@toolbox.tool("openDiff", camel=False)
async def open_diff(
    call: Call,
    *,
    old_file_path: Annotated[str, Meta(description="Absolute path of the file as it is; it need not exist")],
    new_file_path: Annotated[str, Meta(description="Absolute path of the file that would be written")],
    new_file_contents: Annotated[str, Meta(description="The whole proposed text, with LF line ends")],
    tab_name: Annotated[str, Meta(description="A name for the proposal, to close it by")],
) -> list[str]:
    """Show proposed contents beside a file and wait for the person's verdict.

    The file is never written here: the agent writes it when it has read `FILE_SAVED` and the final text.
    """
    for path in (old_file_path, new_file_path):
        if not is_absolute(path):
            raise ToolError(f"not an absolute path: {path[:200]!r}")
    bridge = call.bridge
    if not bridge.reviews_here:
        bridge.changes.reviewed(call.client, os.path.realpath(new_file_path))  # the person is asked there
        raise ToolError("proposals are answered in the agent's own terminal (review.where is terminal)")
    id = bridge.reviews.new_id()  # before the file is read, so that ids follow the order of the calls
    try:
        size = _size(old_file_path) + weight(new_file_contents)
        with bridge.reviews.opening(call.client, tab_name, size) as opening:
            original = await asyncio.to_thread(Original.read, old_file_path)
            opening.size = weight(original.text or "") + weight(new_file_contents)
            await _settle(bridge, call.client, os.path.realpath(new_file_path))
            if opening.withdrawn:  # answered in the agent's terminal before it could be shown
                bridge.changes.reviewed(call.client, os.path.realpath(new_file_path))
                return [REJECTED, tab_name]
    except TooMuch as error:
        bridge.changes.reviewed(call.client, os.path.realpath(new_file_path))  # the person is asked there
        raise ToolError(str(error)) from None
    with bridge.reviews.open(
        call.client,
        id=id,
        path=os.path.realpath(new_file_path),
        name=tab_name,
        original=original,
        proposed=new_file_contents,
    ) as review:
        verdict = await _verdict(bridge, review)
    if verdict.outcome is Outcome.ACCEPTED:
        assert verdict.text is not None
        return [SAVED, verdict.text]
    return [REJECTED, tab_name]


def _size(path: str) -> int:
    """The bytes of a file that will be read; 0 if there is none."""
    try:
        return min(os.stat(path).st_size, ORIGINAL_BYTES)
    except OSError:
        return 0


async def _settle(bridge: Bridge, client: Client, path: str) -> None:
    """A client that proposes is not writing: what it has not written by now it will not, and the person may."""
    if path in bridge.changes.pending(client.id):
        bridge.changes.end(client.id, path, await bridge.image(path))


async def _verdict(bridge: Bridge, review: Review) -> Verdict:
    """Show a review and wait for its verdict, which may come from elsewhere while the editor is still busy."""
    showing = asyncio.create_task(bridge.editor.show_review(review.id, review.path, review.name, review.proposed))
    deciding = asyncio.create_task(review.verdict())
    try:
        await asyncio.wait((showing, deciding), return_when=asyncio.FIRST_COMPLETED)
        if not deciding.done():
            await showing
        return await deciding
    except EditorError as error:
        raise ToolError(str(error)) from None
    finally:
        showing.cancel()
        deciding.cancel()
        await asyncio.gather(showing, deciding, return_exceptions=True)


@toolbox.tool("close_tab", camel=False)
def close_tab(call: Call, *, tab_name: Annotated[str, Meta(description="The name given to openDiff")]) -> str:
    """Take away a proposal of the caller; one that is gone already is fine."""
    call.bridge.reviews.withdraw(call.client, tab_name)
    return CLOSED


@toolbox.tool("closeAllDiffTabs")
def close_all_diff_tabs(call: Call) -> str:
    """Take away every proposal of the caller. Claude Code does so at each prompt."""
    closed = call.bridge.reviews.withdraw(call.client)
    call.bridge.prompted(call.client)
    return f"CLOSED_{closed}_DIFF_TABS"
