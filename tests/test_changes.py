"""What agents changed, turn by turn."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pairside import archive as archives
from pairside import changes as module
from pairside.changes import Change, Changes, Means, State, Turn
from pairside.clients import Client
from pairside.images import Image, Kind, Store, look
from pairside.snapshots import Difference

from .memory import client

STORE = Store()


@pytest.fixture
def noticed() -> list[Change]:
    """The changes that were told."""
    return []


@pytest.fixture
def changes(noticed: list[Change]) -> Changes:
    """No changes yet, with small limits."""
    changes = Changes(store=STORE, image_bytes=100, total_bytes=100_000, noticed=noticed.append)
    changes.is_watched = True
    return changes


def image(text: str | None, mode: int = 0o644) -> Image:
    """What stands there if the file holds that text; nothing for None."""
    return Image() if text is None else Image(Kind.FILE, STORE.put(text.encode()), len(text.encode()), mode)


def text(one: Image) -> str | None:
    """The text of an image."""
    data = None if one.digest is None else STORE.get(one.digest)
    return None if data is None else data.decode()


def texts(changes: Changes) -> list[tuple[str, str | None, str | None]]:
    """All changes: path, before, after."""
    return [(change.path, text(change.before), text(change.after)) for change in changes]


def write(changes: Changes, agent: int, path: str, before: str | None, after: str | None) -> Change:
    """An agent's write, complete."""
    changes.begin(client(agent), path, image(before))
    changes.end(agent, path, image(after))
    return list(changes)[-1]


def saw(changes: Changes, *differences: tuple[str, str | None, str | None], at: float | None = None) -> list[Change]:
    """What a snapshot accounts for that finds these differences: path, before, after."""
    look = changes.look()
    found = [Difference(path, image(before), image(after), at) for path, before, after in differences]
    changed = changes.account(look, found)
    changes.accounted(look, {path for path, _, _ in differences})
    return changed


def take_back(changes: Changes, *ids: int, numbers: Sequence[int] | None = None, of: int = 0) -> tuple[Turn, Change]:
    """The person takes changes of one file back."""
    (net,) = changes.net_of(ids)
    turn = changes.undo_turn("me")
    chosen = None if numbers is None else tuple(numbers)
    done = changes.undid(turn, net.path, net.after, net.before, undoes=ids, hunks=chosen, hunk_count=of)
    return turn, done


# Writes by the agents' own tools.


def test_a_write_is_a_change_once_both_of_its_images_are_known(changes: Changes, noticed: list[Change]) -> None:
    """While the write may still be going on nothing is listed."""
    changes.begin(client(1), "/a", image("old"))
    assert (len(changes), noticed, changes.pending(1)) == (0, [], ("/a",))
    changes.end(1, "/a", image("new"))
    assert texts(changes) == [("/a", "old", "new")]
    assert noticed == list(changes)
    assert changes.pending(1) == ()
    changes.end(1, "/a", image("newer"))
    assert texts(changes) == [("/a", "old", "new")]


def test_two_writes_in_a_row_are_two_changes_and_one_net_change(changes: Changes) -> None:
    """What the second finds is what the first has left."""
    agent = client(1)
    for content in ("0", "1"):
        changes.begin(agent, "/a", image(content))
    changes.end(1, "/a", image("2"))
    assert texts(changes) == [("/a", "0", "1"), ("/a", "1", "2")]
    (net,) = changes.net()
    assert (net.ids, text(net.before), text(net.after)) == ((1, 2), "0", "2")


def test_what_was_asked_and_not_written_is_no_change(changes: Changes, noticed: list[Change]) -> None:
    """The person said no in the agent's terminal."""
    for path, content in (("/a", "same"), ("/none", None)):
        changes.begin(client(1), path, image(content))
        changes.end(1, path, image(content))
    assert (len(changes), noticed, changes.pending(1)) == (0, [], ())


def test_new_and_deleted_files_are_changes(changes: Changes) -> None:
    """An empty file is not the same as none."""
    write(changes, 1, "/new", None, "")
    write(changes, 1, "/gone", "", None)
    kinds = [module.kind(change.before, change.after) for change in changes]
    assert kinds == ["new", "deleted"]


def test_a_write_that_was_proposed_before_is_a_reviewed_change(changes: Changes) -> None:
    """The next one of that file by that client only: another file, another client, the one after it were not."""
    changes.reviewed(client(1), "/a")
    changes.reviewed(client(1), "/rejected", writes=False)
    write(changes, 2, "/a", "0", "1")
    write(changes, 1, "/b", "0", "1")
    write(changes, 1, "/a", "1", "2")
    write(changes, 1, "/a", "2", "3")
    write(changes, 1, "/rejected", "0", "1")
    assert [change.reviewed for change in changes] == [False, False, True, False, False]
    assert changes.unreviewed() == 4


def test_a_review_before_the_prompt_says_nothing_about_what_comes_after(changes: Changes) -> None:
    """A proposal that was accepted and never written; the next prompt starts anew, for that client alone."""
    agent, other = client(1), client(2)
    for one in (agent, other):
        changes.reviewed(one, "/a")
    changes.prompted(agent)
    write(changes, 1, "/a", "0", "1")
    write(changes, 2, "/a", "1", "2")
    assert [change.reviewed for change in changes] == [False, True]


def test_what_the_person_saved_is_not_the_agents(changes: Changes) -> None:
    """Between the agent's question and its write, and where a snapshot finds it."""
    changes.prompted(client(1))
    changes.begin(client(1), "/a", image("0"))
    changes.saved("/a", image("mine"))
    changes.end(1, "/a", image("mine"))
    assert len(changes) == 0
    changes.saved("/b", image("mine"))
    assert saw(changes, ("/b", "0", "mine")) == []


# Turns.


def test_each_prompt_begins_a_turn_of_that_client(changes: Changes) -> None:
    """Two agents in one file are told apart; turns in which nothing changed are not among the turns."""
    one, other = client(1), client(2, "Other")
    first = changes.prompted(one)
    second = changes.prompted(other)
    write(changes, 1, "/a", "0", "1")
    write(changes, 2, "/a", "1", "2")
    third = changes.prompted(one)
    assert [change.turn for change in changes] == [first, second]
    assert (first.number, second.number, third.number) == (1, 2, 3)
    assert first.ended_at is not None
    assert second.ended_at is None
    assert changes.turns == [first, second]
    assert [text(net.after) for net in changes.net([first])] == ["1"]


def test_a_write_without_a_prompt_begins_a_turn(changes: Changes) -> None:
    """An agent that tells no prompts has one turn for all it does."""
    write(changes, 1, "/a", "0", "1")
    write(changes, 1, "/b", "0", "1")
    assert [turn.number for turn in changes.turns] == [1]
    assert changes.departed(1) is changes.turns[0]
    assert changes.turns[0].ended_at is not None


@pytest.mark.parametrize("watched", [False, True])
def test_turns_in_which_nothing_was_changed_are_not_remembered_for_ever(changes: Changes, watched: bool) -> None:
    """Many prompts and many clients cost no memory; turns with changes stay."""
    changes.is_watched = watched
    agent = client(1)
    changes.prompted(agent)
    write(changes, 1, "/a", "0", "1")
    for number in range(3 * module.IDLE_TURNS):
        changes.prompted(agent)
        if number % 100 == 0:
            changes.accounted(changes.look(), {"/a"})
    for id in range(2, 2 * module.INTERRUPTED):
        changes.prompted(client(id))
        changes.departed(id)
    assert len(changes._kept) <= 2 * module.IDLE_TURNS
    assert changes._first_turns.keys() == {1}
    assert [turn.number for turn in changes.turns] == [1]


def test_the_latest_turns_are_those_of_the_clients_that_are_here(changes: Changes) -> None:
    """The last with changes of each; where nobody is here, the last of all."""
    one, other = client(1), client(2)
    a = changes.prompted(one)
    write(changes, 1, "/a", "0", "1")
    b = changes.prompted(other)
    write(changes, 2, "/b", "0", "1")
    changes.prompted(one)  # nothing was changed since
    assert changes.latest() == [a, b]
    changes.departed(2)
    assert changes.latest() == [a]
    changes.departed(1)
    assert changes.latest() == [b]


# By other means.


def test_what_known_writes_do_not_explain_was_done_by_other_means(changes: Changes) -> None:
    """Before, between and after the agent's own writes; and files that it never wrote itself."""
    turn = changes.prompted(client(1))
    write(changes, 1, "/a", "1", "2")
    write(changes, 1, "/a", "3", "4")
    found = saw(changes, ("/a", "0", "5"), ("/b", None, "b"), ("/c", "c", None))
    told = [(text(change.before), text(change.after)) for change in changes if change.path == "/a"]
    assert told == [("0", "1"), ("1", "2"), ("2", "3"), ("3", "4"), ("4", "5")]
    assert [net.ids for net in changes.net() if net.path == "/a"] == [(3, 1, 4, 2, 5)]
    assert [(change.path, text(change.before), text(change.after)) for change in found] == [
        ("/a", "0", "1"), ("/a", "2", "3"), ("/a", "4", "5"), ("/b", None, "b"), ("/c", "c", None),
    ]  # fmt: skip
    assert {change.means for change in found} == {Means.OTHER}
    assert {change.turn for change in found} == {turn}
    assert saw(changes, ("/a", "5", "5")) == []


def test_known_writes_explain_themselves(changes: Changes) -> None:
    """Also where the file is in the end as it was."""
    changes.prompted(client(1))
    write(changes, 1, "/a", "0", "1")
    write(changes, 1, "/a", "1", "0")
    assert changes.look().about == {"/a"}
    assert saw(changes, ("/a", "0", "0")) == []
    assert changes.look().about == frozenset()


def test_a_file_that_came_and_went_between_two_snapshots_was_deleted_by_other_means(
    changes: Changes, tmp_path: Path
) -> None:
    """No snapshot tells of it. One that is still there is ignored by git, and all is known of it."""
    changes.prompted(client(1))
    ignored = tmp_path / "ignored"
    ignored.write_text("1")
    write(changes, 1, "/none/gone", None, "1")
    write(changes, 1, str(ignored), None, "1")
    look = changes.look()
    assert changes.account(look, []) == []
    (found,) = changes.accounted(look, ())
    assert (found.path, text(found.before), found.after.exists) == ("/none/gone", "1", False)
    assert changes.look().about == frozenset()
    assert [net.path for net in changes.net()] == [str(ignored)]


def test_what_is_known_of_a_tree_that_could_not_be_looked_at_waits_for_the_next_snapshot(changes: Changes) -> None:
    """Or what the person saved meanwhile would be taken for the agent's."""
    changes.prompted(client(1))
    write(changes, 1, "/w/a", "0", "1")
    changes.saved("/w/b", image("mine"))
    look = changes.look()
    assert changes.accounted(look, (), unseen=["/w"]) == []
    assert saw(changes, ("/w/a", "0", "1"), ("/w/b", "0", "mine")) == []


def test_a_file_that_is_being_written_during_a_snapshot_is_explained_by_a_later_one(changes: Changes) -> None:
    """Whether the snapshot saw it before or after the write cannot be told."""
    changes.prompted(client(1))
    for seen in ("0", "1"):
        changes.begin(client(1), "/a", image("0"))
        during = changes.look()
        changes.end(1, "/a", image("1"))
        assert changes.account(during, [Difference("/a", image("0"), image(seen), None)]) == []
        assert saw(changes, ("/a", seen, "1")) == []
        write(changes, 1, "/a", "1", "0")
        assert saw(changes, ("/a", "1", "0")) == []


def test_a_write_that_begins_during_a_snapshot_is_explained_by_a_later_one(changes: Changes) -> None:
    """What somebody else did before it is found then."""
    changes.prompted(client(1))
    during = changes.look()
    write(changes, 1, "/a", "1", "2")
    assert changes.account(during, [Difference("/a", image("0"), image("1"), None)]) == []
    (found,) = saw(changes, ("/a", "1", "2"))
    assert (text(found.before), text(found.after)) == ("0", "1")


def test_what_changed_while_no_agent_had_a_turn_is_nobodys(changes: Changes) -> None:
    """Before the first prompt, and after the last agent left."""
    assert saw(changes, ("/a", "0", "1")) == []
    changes.prompted(client(1))
    changes.departed(1)
    assert saw(changes, ("/a", "1", "2"), at=time.time() + 1) == []


def test_a_change_belongs_to_the_turn_in_which_the_file_was_written(changes: Changes) -> None:
    """By the clock of the file system: a snapshot comes a little later."""
    first = changes.prompted(client(1))
    first.began_at -= 10
    write(changes, 1, "/x", "0", "1")
    second = changes.prompted(client(1))
    assert first.ended_at is not None
    found = changes.account(
        changes.look(),
        [Difference(f"/{at}", image("0"), image("1"), first.ended_at + at) for at in (-5, -0.1, 0.1)],
    )
    assert [change.turn for change in found] == [first, first, second]


def test_of_two_agents_it_is_the_one_that_showed_that_it_was_at_work(changes: Changes) -> None:
    """The snapshot was asked for by its sign."""
    one, other = changes.prompted(client(1)), changes.prompted(client(2))
    for hint, turn in ((1, one), (2, other)):
        look = changes.look()
        (found,) = changes.account(look, [Difference(f"/{hint}", image("0"), image("1"), None)], hint=hint)
        assert found.turn is turn


def test_what_comes_after_the_last_sign_of_work_is_late(changes: Changes) -> None:
    """It was hardly the agent: taking the turn back leaves it. Of an agent without signs nothing is late."""
    turn = changes.prompted(client(1))
    now = time.time()
    (early,) = saw(changes, ("/silent", "0", "1"), at=now + 1)
    assert not early.is_late
    changes.seen(client(1))
    assert turn.seen_at is not None
    (before,) = saw(changes, ("/before", "0", "1"), at=turn.seen_at)
    (after,) = saw(changes, ("/after", "0", "1"), at=turn.seen_at + 1)
    assert (before.is_late, after.is_late) == (False, True)
    assert {net.path for net in changes.net([turn], late=False)} == {"/before"}
    turn.seen_at += 2
    assert not after.is_late


def test_what_is_late_is_kept_apart_from_the_agents_own(changes: Changes) -> None:
    """Though it follows it in the same file; what took both back belongs to the agent's."""
    turn = changes.prompted(client(1))
    own = write(changes, 1, "/a", "0", "1")
    changes.seen(client(1))
    assert turn.seen_at is not None
    (late,) = saw(changes, ("/a", "0", "2"), at=turn.seen_at + 1)
    assert [net.ids for net in changes.net([turn])] == [(own.id,), (late.id,)]
    assert [net.ids for net in changes.net([turn], late=False)] == [(own.id,)]
    assert [net.ids for net in changes.net_of([own.id, late.id])] == [(own.id, late.id)]
    take_back(changes, own.id, late.id)
    assert changes.net([turn]) == []


def test_the_question_just_before_a_prompt_is_no_sign_of_work(changes: Changes) -> None:
    """Claude Code asks for all diagnostics a moment before it tells a prompt."""
    turn = changes.prompted(client(1))
    changes.seen(client(1))
    seen_at = turn.seen_at
    changes.seen(client(1))
    changes.prompted(client(1))
    assert turn.seen_at == seen_at


# Undo.


def test_what_was_taken_back_is_undone_and_what_took_it_back_can_be_too(changes: Changes) -> None:
    """An undo is a change like any other."""
    change = write(changes, 1, "/a", "0", "1")
    turn, undo = take_back(changes, change.id)
    assert (undo.means, undo.turn, turn.is_undo) == (Means.UNDO, turn, True)
    assert changes.states() == {change.id: State.UNDONE, undo.id: State.WRITTEN}
    assert changes.net() == []
    assert changes.unreviewed() == 0
    _, redo = take_back(changes, undo.id)
    assert changes.states() == {change.id: State.WRITTEN, undo.id: State.UNDONE, redo.id: State.WRITTEN}
    assert [net.ids for net in changes.net()] == [(change.id, undo.id, redo.id)]
    assert changes.unreviewed() == 1
    assert saw(changes, ("/a", "0", "1")) == []


def test_hunks_taken_back_one_by_one_are_all_of_it_in_the_end(changes: Changes) -> None:
    """Until then it is partly undone."""
    change = write(changes, 1, "/a", "0", "1")
    for numbers, state in (((1,), State.PARTLY), ((2, 3), State.UNDONE)):
        take_back(changes, change.id, numbers=numbers, of=3)
        assert changes.states()[change.id] is state


def test_between_two_writes_of_a_file_somebody_elses_keeps_them_apart(changes: Changes) -> None:
    """Taking them back one by one never touches what is not the agent's."""
    write(changes, 1, "/a", "0", "1")
    write(changes, 1, "/a", "2", "3")
    assert [net.ids for net in changes.net()] == [(1,), (2,)]


def test_an_undo_while_the_agent_is_about_to_write_is_not_booked_as_its_write(changes: Changes) -> None:
    """What it had written until then is."""
    write(changes, 1, "/a", "0", "1")
    changes.begin(client(1), "/a", image("1"))
    take_back(changes, 1)
    changes.end(1, "/a", image("0"))
    assert [change.means for change in changes] == [Means.EDIT, Means.UNDO]


# What is kept.


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much is forgotten at once, and not some moments later."""
    monkeypatch.setattr(module, "BOUND_SECONDS", 0.0)


def test_the_oldest_turns_are_forgotten_first_and_whole(noticed: list[Change], at_once: None) -> None:
    """What is left can be taken back."""
    changes = Changes(store=Store(), image_bytes=100, total_bytes=1000, noticed=noticed.append)
    for number in range(20):
        changes.prompted(client(1))
        for name in "ab":
            before, after = (changes.store.put((f"{number}{name}{one}" * 50)[:50].encode()) for one in "01")
            changes.begin(client(1), f"/{name}", Image(Kind.FILE, before, 50, 0o644))
            changes.end(1, f"/{name}", Image(Kind.FILE, after, 50, 0o644))
    assert [turn.number for turn in changes.turns] == [16, 17, 18, 19, 20]
    assert all(change.before.is_known and change.after.is_known for change in changes)
    assert next(iter(changes)).id == 31


def test_of_one_turn_that_is_too_much_the_oldest_texts_are_forgotten(noticed: list[Change], at_once: None) -> None:
    """The change itself stays listed, with a note in place of its texts."""
    changes = Changes(store=Store(), image_bytes=100, total_bytes=1000, noticed=noticed.append)
    for number in range(20):
        before, after = (changes.store.put((f"{number}x{one}" * 50)[:50].encode()) for one in "01")
        changes.begin(client(1), f"/{number}", Image(Kind.FILE, before, 50, 0o644))
        changes.end(1, f"/{number}", Image(Kind.FILE, after, 50, 0o644))
    kept = [change for change in changes if change.before.is_known]
    assert [change.path for change in kept] == [f"/{number}" for number in range(10, 20)]
    assert all("forgotten" in change.before.note for change in list(changes)[:10])
    assert len(changes) == 20


def test_the_number_of_changes_is_bounded(changes: Changes, monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    """An agent that writes for days costs no more than one that writes for an hour."""
    monkeypatch.setattr(module, "CHANGES_KEPT", 50)
    for number in range(55):
        write(changes, 1, "/a", None, str(number))
    assert len(changes) == 50
    assert next(iter(changes)).id == 6


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where the state directory is."""
    return {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def archive(environment: dict[str, str]) -> Iterator[archives.Archive]:
    """An archive of a folder."""
    found = archives.claim(environment, ["/w"])
    assert found is not None
    yield found
    found.close()


def kept(archive: archives.Archive) -> Changes:
    """The changes that stand in an archive."""
    return Changes(store=Store(archive.objects), image_bytes=100, total_bytes=100_000, archive=archive)


def test_everything_is_still_known_after_a_restart(archive: archives.Archive) -> None:
    """Turns, images, states; numbers go on where they ended."""
    changes = kept(archive)
    put = changes.store.put
    odd = os.fsdecode(b'/w/\xff\n"\xe4')
    changes.prompted(client(1))
    for path, before, after in (
        (odd, Image(missing="/w/x"), Image(Kind.FILE, put(b"1"), 1, 0o600)),
        (
            "/w/b",
            Image(Kind.LINK, put(b"x"), 1),
            Image(Kind.FILE, None, 10**9, 0o644, "larger than 100 bytes", (1, 2, 3)),
        ),
    ):
        changes.begin(client(1), path, before)
        changes.end(1, path, after)
    changes.seen(client(1))
    changes.departed(1)
    take_back(changes, 1)

    def told(changes: Changes) -> list[object]:
        states = changes.states()
        return [
            (
                c.id,
                c.turn.number,
                c.turn.agent,
                c.turn.seen_at,
                c.turn.ended_at,
                c.means,
                c.path,
                c.before,
                c.after,
                c.at,
                c.reviewed,
                c.undoes,
                c.before.missing,
                states[c.id],
            )
            for c in changes
        ]

    again = kept(archive)
    assert told(again) == told(changes)
    assert len(told(again)) == 3
    assert again.unreviewed() == 0, "only what this server saw is news"
    assert write(again, 1, "/w/c", "0", "1").id == 4
    assert again.turns[-1].number == 3


def test_a_line_that_is_half_written_costs_that_line_alone(archive: archives.Archive) -> None:
    """The process was killed, or the disk was full."""
    changes = kept(archive)
    write(changes, 1, "/a", "0", "1")
    with open(os.path.join(archive.folder, "log"), "ab") as file:
        file.write(b'{"change": {"id": 7, "tu')
    assert texts(kept(archive)) == texts(changes)


def test_what_is_forgotten_is_gone_from_the_disk(archive: archives.Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """One turn, or everything: neither its texts nor its names are left."""
    monkeypatch.setattr("pairside.images.SWEEP_SECONDS", 0.0)
    changes = kept(archive)
    for path in ("/first", "/second"):
        changes.prompted(client(1))
        changes.begin(client(1), path, Image())
        changes.end(1, path, Image(Kind.FILE, changes.store.put(path.encode()), len(path), 0o644))

    def left() -> str:
        return "".join(
            path.read_text(errors="replace") for path in sorted(Path(archive.folder).rglob("*")) if path.is_file()
        )

    assert "/first" in left()
    assert "/second" in left()
    assert changes.forget(changes.turns[0]) == 1
    assert "/first" not in left()
    assert "/second" in left()
    assert changes.forget() == 1
    assert "/second" not in left()


def test_two_servers_of_one_folder_keep_their_changes_apart(environment: dict[str, str]) -> None:
    """The next one to start goes on with those of the first."""
    first = archives.claim(environment, ["/w", "/v"])
    second = archives.claim(environment, ["/v", "/w"])
    assert first is not None
    assert second is not None
    assert first.folder != second.folder
    folder = first.folder
    first.close()
    third = archives.claim(environment, ["/w", "/v"])
    assert third is not None
    assert third.folder == folder
    for one in (second, third):
        one.close()


def test_what_is_kept_is_for_our_user_alone(environment: dict[str, str], archive: archives.Archive) -> None:
    """Folders 0700, files 0600, whatever the umask."""
    changes = kept(archive)
    write(changes, 1, "/a", "0", "1")
    changes.store.put(b"secret")
    for path in [Path(archives.location(environment)), *Path(archives.location(environment)).rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_client_that_comes_back_to_the_next_server_goes_on_with_its_turn(archive: archives.Archive) -> None:
    """Known by its process; no other client."""

    def came(id: int, pid: int) -> Client:
        one = client(id)
        one.pid = pid
        return one

    changes = kept(archive)
    for number in (1, 2, 3):
        changes.prompted(came(number, 100 + number))
    changes.departed(1, lasting=False)
    changes.departed(2)  # it left by itself
    again = kept(archive)
    assert again.resume(came(7, 999)) is None
    assert again.resume(came(7, 102)) is None
    turn = again.resume(came(7, 101))
    assert turn is not None
    assert (turn.number, turn.client_id, turn.ended_at) == (1, 7, None)
    assert write(again, 7, "/w/a", "0", "1").turn is turn
    assert again.latest() == [turn]
    assert turn.resumed_at is not None
    turn.began_at, turn.seen_at = turn.began_at - 10, turn.resumed_at - 5
    again.is_watched = True
    found = again.account(
        again.look(), [Difference(f"/w/{at}", image("0"), image("1"), turn.resumed_at + at) for at in (-1, 1)]
    )
    assert [change.is_late for change in found] == [True, False], "it gives no signs until its next prompt"
    assert again.resume(came(8, 101)) is None, "it is there already"
    assert again.prompted(came(7, 101)).number == 4


def test_a_client_that_comes_back_to_the_same_server_goes_on_with_its_turn(changes: Changes) -> None:
    """Its connection broke, and nobody sent a prompt since."""
    one = client(1)
    one.pid = 42
    turn = changes.prompted(one)
    changes.departed(1)
    again = client(2)
    again.pid = 42
    assert changes.resume(again) is turn
    assert write(changes, 2, "/a", "0", "1").turn is turn


def test_looking_at_what_was_kept_ends_no_turn(archive: archives.Archive) -> None:
    """A client may still come back to the server that is started after that."""
    one = client(1)
    one.pid = 42
    changes = kept(archive)
    changes.prompted(one)
    changes.departed(1, lasting=False)
    kept(archive)
    turn = kept(archive).resume(one)
    assert turn is not None
    assert turn.number == 1


def test_a_log_of_another_version_is_read_as_far_as_it_is_understood(archive: archives.Archive) -> None:
    """Nothing in it keeps a server from starting, and what is not understood is set aside."""
    changes = kept(archive)
    write(changes, 1, "/w/a", "0", "1")
    changes.departed(1)
    log = Path(archive.folder, "log")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        for facts in line.values():
            facts["news"] = 1
    odd = [
        {"turn": {"number": "x"}}, {"turn": None}, {"turn": {**lines[0]["turn"], "number": 9, "began_at": None}},
        {"change": []}, {"change": {**lines[1]["change"], "before": 7}}, {"forget": 1}, {"what": {}}, [], 7,
    ]  # fmt: skip
    log.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *odd]))
    assert texts(kept(archive)) == texts(changes)
    assert Path(archive.folder, "log.old").exists()


def test_a_log_that_has_grown_large_is_written_anew(archive: archives.Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of work are many, and none of the earlier ones matters."""
    monkeypatch.setattr(module, "LOG_BYTES", 10_000)
    monkeypatch.setattr(module, "SIGN_SECONDS", -1.0)
    changes = kept(archive)
    changes.prompted(client(1))
    write(changes, 1, "/w/a", "0", "1")
    for _ in range(500):
        changes.seen(client(1))
    assert os.path.getsize(os.path.join(archive.folder, "log")) < 20_000
    assert texts(kept(archive)) == texts(changes)


def test_what_was_forgotten_for_want_of_room_stays_forgotten(
    archive: archives.Archive, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart too."""
    monkeypatch.setattr(module, "CHANGES_KEPT", 2)
    changes = kept(archive)
    for number in range(4):
        changes.prompted(client(1))
        write(changes, 1, f"/w/{number}", "0", "1")
    assert [change.path for change in kept(archive)] == [change.path for change in changes] == ["/w/2", "/w/3"]


# Images.


def test_an_image_is_what_stands_there_or_says_why_not(workspace: Path) -> None:
    """Bytes as they are, none of a file that is missing, larger than the limit, or no regular file; links as links."""
    (workspace / "a").write_bytes(b"\xff\r\n\0")
    (workspace / "full").write_bytes(b"x" * 100)
    (workspace / "large").write_bytes(b"x" * 101)
    (workspace / "link").symlink_to("nowhere")
    os.mkfifo(workspace / "pipe")
    os.chmod(workspace / "a", 0o751)
    names = ("a", "full", "large", "link", "pipe", "none", "no/such/none", ".")
    seen = {name: look(os.path.join(workspace, name).removesuffix("/."), 100, STORE) for name in names}
    kinds = [Kind.FILE, Kind.FILE, Kind.FILE, Kind.LINK, Kind.OTHER, Kind.NONE, Kind.NONE, Kind.OTHER]
    assert [seen[name].kind for name in names] == kinds
    assert (seen["a"].digest, seen["a"].mode) == (STORE.put(b"\xff\r\n\0"), 0o751)
    assert seen["full"].is_known
    assert seen["link"].digest == STORE.put(b"nowhere")
    assert (seen["large"].digest, seen["large"].note) == (None, "larger than 100 bytes")
    assert seen["pipe"].note == "not a regular file"
    assert (seen["none"].missing, seen["no/such/none"].missing) == ("", str(workspace / "no"))


def test_a_folder_that_became_a_link_is_not_followed(workspace: Path, tmp_path: Path) -> None:
    """Whoever replaced it could have us keep what lies anywhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (workspace / "folder").symlink_to(outside)
    seen = look(str(workspace / "folder" / "secret"), 100, Store())
    assert (seen.kind, seen.digest) == (Kind.OTHER, None)
    assert "symbolic link" in seen.note


def test_a_file_too_large_to_be_kept_is_seen_to_change(changes: Changes, workspace: Path) -> None:
    """By its size and the time of its last write."""
    file = workspace / "large"
    file.write_bytes(b"x" * 101)
    before = look(str(file), 100, STORE)
    changes.begin(client(1), str(file), before)
    changes.end(1, str(file), look(str(file), 100, STORE))
    assert len(changes) == 0
    changes.begin(client(1), str(file), before)
    file.write_bytes(b"y" * 102)
    changes.end(1, str(file), look(str(file), 100, STORE))
    (change,) = changes
    assert (change.after.digest, change.after.note) == (None, "larger than 100 bytes")


def test_bytes_that_were_altered_on_disk_are_not_given_out(tmp_path: Path) -> None:
    """What is put back is what was there, or nothing is."""
    store = Store(str(tmp_path))
    digest = store.put(b"right")
    (tmp_path / digest).write_bytes(b"wrong")
    assert store.get(digest) is None
    (tmp_path / "half").write_bytes(b"")
    again = Store(str(tmp_path))
    assert not (tmp_path / "half").exists()
    assert again.size(digest) == 5


def test_bytes_are_swept_when_nobody_wants_them_but_not_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has just read them may not have said yet what for."""
    store = Store(str(tmp_path))
    wanted, other = store.put(b"wanted"), store.put(b"other")
    store.sweep({wanted})
    assert store.get(other) == b"other"
    monkeypatch.setattr("pairside.images.SWEEP_SECONDS", 0.0)
    store.sweep({wanted})
    assert (store.get(wanted), store.get(other), store.total) == (b"wanted", None, 6)


def test_after_a_disk_that_was_full_what_follows_is_kept(archive: archives.Archive, tmp_path: Path) -> None:
    """And what did not fit as well, as soon as there is room again."""
    changes = kept(archive)
    write(changes, 1, "/w/a", "0", "1")
    size = os.path.getsize(os.path.join(archive.folder, "log"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        write(changes, 1, "/w/b", "0", "1")
        assert changes.why_not_kept
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    write(changes, 1, "/w/c", "0", "1")
    assert not changes.why_not_kept
    assert [change.path for change in kept(archive)] == ["/w/a", "/w/b", "/w/c"], "it is made up for"
