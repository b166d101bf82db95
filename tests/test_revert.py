"""Hunks of a change taken back in a text that may have changed since, and the codecs of the files. git judges too."""

from __future__ import annotations

import asyncio
import codecs
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pairside import hunks
from pairside.hunks import Codec, Conflict, Reverted, common_codec
from tests.held import never_held

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "a\r", "b\r"]), max_size=10)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))

slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def revert(before: str, after: str, now: str, *chosen: int) -> Reverted:
    """All hunks if none is named."""
    return asyncio.run(hunks.revert(before, after, now, chosen or None))


@dataclass(frozen=True, slots=True)
class Texts:
    """Three texts of lines that are all different, and for each choice the text that must come of it."""

    before: str
    after: str
    now: str
    hunks: int
    """How many hunks lead from `before` to `after`."""
    segments: tuple[tuple[str, str, str], ...]

    def without(self, numbers: set[int]) -> str:
        """The present text as it is when these hunks are taken back."""
        result, number = "", 0
        for before, after, now in self.segments:
            if before != after:
                number += 1
            result += before if before != after and number in numbers else now
        return result


@st.composite
def texts(draw: st.DrawFn) -> Texts:
    """An agent and a person changed different places; at least one line between any two stayed."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    name = iter(range(1000))

    def lines(at_least: int = 0) -> str:
        return "".join(f"{next(name)}{end}" for _ in range(draw(st.integers(at_least, 3))))

    segments: list[tuple[str, str, str]] = []
    for who in draw(st.lists(st.sampled_from(["agent", "person"]), max_size=7)):
        same = lines(1)
        old = lines()
        new = lines(0 if old else 1)
        segments.append((same, same, same))
        segments.append((old, new, new) if who == "agent" else (old, old, new))
    if draw(st.booleans()):
        same = lines(1) + draw(st.sampled_from(["", "no end"]))
        segments.append((same, same, same))
    before, after, now = ("".join(parts) for parts in zip(*segments, strict=True)) if segments else ("", "", "")
    changed = sum(before != after for before, after, _ in segments)
    return Texts(before, after, now, changed, tuple(segments))


@slow
@given(TEXTS, TEXTS, st.data())
def test_in_a_text_that_nobody_changed_any_hunks_can_be_taken_back(
    before: str, after: str, data: st.DataObject
) -> None:
    """Without any hunk the text is as before, and without some as if only the others had been applied."""
    found = asyncio.run(hunks.compare(before, after))
    numbers = {hunk.number for hunk in found}
    assert revert(before, after, after) == Reverted(before)
    chosen = data.draw(st.sets(st.sampled_from(sorted(numbers)))) if numbers else set()
    expected = hunks.apply(before, found, numbers - chosen)
    assert asyncio.run(hunks.revert(before, after, after, chosen)) == Reverted(expected)


@slow
@given(texts(), st.data())
def test_what_others_changed_elsewhere_stays(case: Texts, data: st.DataObject) -> None:
    """The hunks are gone, and every other byte is as it was."""
    assert revert(case.before, case.after, case.now) == Reverted(case.without(set(range(1, case.hunks + 1))))
    chosen = data.draw(st.sets(st.integers(1, case.hunks))) if case.hunks else set()
    assert asyncio.run(hunks.revert(case.before, case.after, case.now, chosen)) == Reverted(case.without(chosen))


@slow
@given(texts(), st.data())
def test_hunks_can_be_taken_back_one_after_the_other_in_any_order(case: Texts, data: st.DataObject) -> None:
    """It leads to the same text as all at once, and once more changes nothing."""
    text = case.now
    gone: set[int] = set()
    for number in data.draw(st.permutations(range(1, case.hunks + 1))):
        gone.add(number)
        for _ in range(2):
            reverted = revert(case.before, case.after, text, number)
            assert reverted == Reverted(case.without(gone))
        text = case.without(gone)


@slow
@given(TEXTS, TEXTS, st.data())
def test_among_equal_lines_too_the_order_does_not_matter(before: str, after: str, data: st.DataObject) -> None:
    """Where lines repeat, a hunk that was taken back is not taken back a second time."""
    found = asyncio.run(hunks.compare(before, after))
    numbers = {hunk.number for hunk in found}
    assume(len(numbers) > 1)
    some = data.draw(st.sets(st.sampled_from(sorted(numbers))))
    more = data.draw(st.sets(st.sampled_from(sorted(numbers))))
    text = hunks.apply(before, found, numbers - some)
    expected = Reverted(hunks.apply(before, found, numbers - some - more))
    assert asyncio.run(hunks.revert(before, after, text, more)) == expected


@slow
@given(TEXTS, TEXTS, TEXTS)
def test_no_line_is_invented(before: str, after: str, now: str) -> None:
    """The lines of the result are lines of the three texts; a conflict names lines of the present one."""
    reverted = revert(before, after, now)
    known = {line for text in (before, after, now) for line in hunks.split(text)}
    if reverted.text is not None:
        assert not reverted.conflicts
        assert set(hunks.split(reverted.text)) <= known
    else:
        assert reverted.conflicts
        for conflict in reverted.conflicts:
            end = conflict.start + len(conflict.lines)
            assert tuple(hunks.split(now)[conflict.start : end]) == conflict.lines
            assert end <= len(hunks.split(now))


def test_a_change_right_beside_a_hunk_is_no_conflict() -> None:
    """Lines before and after it, changed or inserted, stay."""
    before, after = "1\n2\n3\n", "1\nx\n3\n"
    assert revert(before, after, "one\nx\nthree\n") == Reverted("one\n2\nthree\n")
    assert revert(before, after, "1\nover\nx\nunder\n3\n") == Reverted("1\nover\n2\nunder\n3\n")
    assert revert(before, after, "x\n") == Reverted("2\n")


@pytest.mark.parametrize(
    ("before", "after", "now", "expected"),
    [
        ("1\n2\n3\n", "1\nx\n3\n", "1\ny\n3\n", Conflict(1, 1, ("y\n",))),
        ("1\n2\n3\n", "1\nx\n3\n", "1\n3\n", Conflict(1, 1, ())),
        ("1\n2\n", "1\nx\ny\nz\n2\n", "1\nx\ny!\nz\n2\n", Conflict(1, 2, ("y!\n",))),
        ("1\n2\n", "1\nx\nz\n2\n", "1\nx\ny\nz\n2\n", Conflict(1, 2, ("y\n",))),
        ("1\n2\n3\n", "1\n3\n", "1\nx\n3\n", Conflict(1, 1, ("x\n",))),
        ("1\n2\n3\n", "1\n3\n", "x\n", Conflict(1, 0, ("x\n",))),
        ("1\r\n2\r\n", "1\r\nx\r\n", "1\nx\n", Conflict(1, 0, ("1\n", "x\n"))),
        ("1\nold\n3\n", "1\nnew\n3\n", "", Conflict(1, 0, ())),
    ],
    ids=["replaced", "deleted", "inside", "inserted", "same place", "around", "line ends", "emptied"],
)
def test_what_others_changed_inside_a_hunk_is_a_conflict(before: str, after: str, now: str, expected: Conflict) -> None:
    """Nothing is guessed: the conflict says which hunk, and what stands there now."""
    assert revert(before, after, now) == Reverted(None, (expected,))


def test_a_conflict_leaves_the_other_hunks_to_be_taken_back() -> None:
    """All that was asked for or nothing; each conflict is told, and without those hunks it works."""
    before = "1\n2\n3\n4\n5\n6\n7\n"
    after = "1\nB\n3\nD\n5\nF\n7\n"
    now = "1\nb\n3\nD\n5\nf1\nf2\n7\n"
    assert revert(before, after, now) == Reverted(None, (Conflict(1, 1, ("b\n",)), Conflict(3, 5, ("f1\n", "f2\n"))))
    assert revert(before, after, now, 2) == Reverted("1\nb\n3\n4\n5\nf1\nf2\n7\n")


def test_one_change_over_two_hunks_conflicts_with_both() -> None:
    """Each hunk that it overlaps is told, with the whole of it."""
    lines = ("one\n", "two\n", "three\n")
    reverted = revert("1\n2\n3\n", "a\n2\nb\n", "".join(lines))
    assert reverted == Reverted(None, (Conflict(1, 0, lines), Conflict(2, 0, lines)))
    assert revert("1\n2\n3\n", "a\n2\nb\n", "".join(lines), 2) == Reverted(None, (Conflict(2, 0, lines),))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1\n2\n3\n4\n5\n", "1\nx\n3\ny\n5\n"),
        ("1\n2\n4\n5\n", "1\nx\n2\n4\ny\n5\n"),
        ("1\n2\n3\n4\n5\n", "1\n3\n5\n"),
        ("1\n1\n1\n2\n1\n", "1\n1\n2\n"),
        ("a\n\nb\n\nc\n", "a\n\nx\n\nb\n\ny\n\nc\n"),
        ("1\n2\nend", "one\n2\nend\n"),
    ],
)
def test_a_hunk_that_was_taken_back_by_hand_is_no_conflict(before: str, after: str) -> None:
    """Nothing is left to do there, and what else was changed stays."""
    before, after = "0\n" + before, "0\n" + after
    found = asyncio.run(hunks.compare(before, after))
    assert len(found) == 2
    for number in (1, 2):
        by_hand = hunks.apply(before, found, {3 - number})
        assert revert(before, after, by_hand, number) == Reverted(by_hand)
        assert revert(before, after, by_hand) == Reverted(before)
        assert revert(before, after, "new\n" + by_hand, number) == Reverted("new\n" + by_hand)
    assert revert(before, after, before, 1) == Reverted(before)


@pytest.mark.parametrize(
    ("before", "after", "now", "expected"),
    [
        ("1", "1\n", "1\n", "1"),
        ("1\n", "1", "1", "1\n"),
        ("1\n2", "x\n2", "x\n2\n", "1\n2\n"),
        ("1\n2\n", "x\n2\n", "x\n2", "1\n2"),
        ("1\n2", "1\n2\n", "one\n2\n", "one\n2"),
        ("", "1", "1", ""),
        ("1", "", "", "1"),
        ("1", "1\n", "1\n2\n", Conflict(1, 1, ("2\n",))),
        ("1\n2\n", "1\n", "1", Conflict(1, 0, ("1",))),
        ("1\n2", "1\n", "1\n3", Conflict(1, 1, ("3",))),
        ("1", "2\n", "2", Conflict(1, 0, ("2",))),
        ("1\n", "1\n2", "1\n2\n", Conflict(1, 1, ("2\n",))),
    ],
)
def test_the_end_of_the_last_line_is_never_invented_nor_lost(
    before: str, after: str, now: str, expected: str | Conflict
) -> None:
    """A missing end of line comes back at the end of the file only; two lines are never glued together."""
    assert revert(before, after, now) == (
        Reverted(expected) if isinstance(expected, str) else Reverted(None, (expected,))
    )


def test_a_number_that_no_hunk_has_is_refused() -> None:
    """The message says how many there are."""
    with pytest.raises(ValueError, match=r"^the change has hunks 1 to 2, not 0, 3$"):
        revert("1\n2\n3\n", "a\n2\nb\n", "a\n2\nb\n", 3, 2, 0)
    with pytest.raises(ValueError, match=r"^the change has no hunks, not 1$"):
        revert("1\n", "1\n", "2\n", 1)


def test_choosing_no_hunk_changes_nothing() -> None:
    """An empty choice is not the choice of all."""
    assert asyncio.run(hunks.revert("1\n", "2\n", "3\n", ())) == Reverted("3\n")


async def test_many_hunks_do_not_hold_up_the_event_loop() -> None:
    """Thousands of them, between as many changes of others, are taken back beside it."""
    before = "".join(f"{number}\n" for number in range(20_000))
    after = "".join(f"{number}{'x' if number % 6 == 0 else ''}\n" for number in range(20_000))
    now = "".join(f"{number}{'x' if number % 6 == 0 else 'y' if number % 6 == 3 else ''}\n" for number in range(20_000))
    expected = "".join(f"{number}{'y' if number % 6 == 3 else ''}\n" for number in range(20_000))
    async with never_held(0.5):
        reverted = await hunks.revert(before, after, now)
    assert reverted == Reverted(expected)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where git merges."""
    with tempfile.TemporaryDirectory(prefix="pairside-") as name:
        yield Path(name)


def git_merges(folder: Path, now: str, after: str, before: str) -> str | None:
    """The text of `git merge-file`; None if it finds conflicts."""
    for name, text in (("now", now), ("after", after), ("before", before)):
        (folder / name).write_bytes(text.encode())
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    arguments = ["git", "merge-file", "-p", "now", "after", "before"]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, timeout=5, check=False)
    assert done.returncode < 128, done.stderr
    return done.stdout.decode() if done.returncode == 0 else None


@st.composite
def edited(draw: st.DrawFn, lines: Sequence[str], mark: str) -> str:
    """The lines with a few of them replaced, deleted, or others inserted; those are like no other."""
    result = list(lines)
    for number in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(result)))
        gone = draw(st.integers(0, 2))
        result[place : place + gone] = [f"{mark}{number}{one}\n" for one in range(draw(st.integers(0, 2)))]
    return "".join(result)


@slow
@given(st.data())
def test_git_merges_to_the_same_text_where_it_sees_no_conflict(folder: Path, data: st.DataObject) -> None:
    """git calls changes conflicts that only touch; wherever it does not, it agrees."""
    base = [f"{number}\n" for number in range(data.draw(st.integers(0, 12)))]
    before = "".join(base)
    after = data.draw(edited(base, "agent"))
    now = data.draw(edited(hunks.split(after), "person"))
    merged = git_merges(folder, now, after, before)
    assume(merged is not None)
    assert revert(before, after, now) == Reverted(merged)


ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1", "cp1252", "shift-jis", "utf-32"])
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda text, encoding: text.encode(encoding, "ignore"),
        st.text(st.sampled_from("aé€日\r\n\ufeff😀")),
        ENCODINGS,
    ),
    st.builds(lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"), st.text(st.sampled_from("ab日\r\n"))),
)


@given(st.lists(CONTENTS, min_size=1, max_size=4))
def test_what_is_decoded_is_encoded_to_the_same_bytes(contents: list[bytes]) -> None:
    """Whatever a codec is found for survives byte for byte, and so does every mix of its lines."""
    codec = common_codec(*contents)
    if codec is None:
        assert any(b"\0" in data for data in contents)
        return
    decoded = [codec.decode(data) for data in contents]
    assert [codec.encode(text) for text in decoded] == contents
    lines = [line for text in decoded for line in hunks.split(text)]
    assert codec.encode("".join(lines)) == b"".join(contents)


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ([b""], Codec.UTF_8),
        (["é\r\n".encode(), b"a"], Codec.UTF_8),
        ([codecs.BOM_UTF8 + b"a\n", b"a\n"], Codec.UTF_8),
        (["é".encode("latin-1"), "é".encode()], Codec.LATIN_1),
        (["é\n".encode("utf-16"), b"", "b\n".encode("utf-16")], Codec.UTF_16_LE),
        ([codecs.BOM_UTF16_BE + "é\n".encode("utf-16-be")], Codec.UTF_16_BE),
        (["日本".encode("shift-jis"), b"\xff\xfe"], Codec.LATIN_1),
        (["a".encode("utf-16"), codecs.BOM_UTF16_BE + "a".encode("utf-16-be")], None),
        (["a".encode("utf-16"), b"a"], None),
        (["a".encode("utf-16") + b"\n"], None),
        (["a".encode("utf-32")], None),
        ([b"a\0b"], None),
        ([b"a", b"\xff\0"], None),
    ],
)
def test_one_codec_is_found_for_all_files(contents: list[bytes], expected: Codec | None) -> None:
    """UTF-8 before UTF-16 with a mark, before any encoding of 8 bits; bytes with NUL are binary."""
    assert common_codec(*contents) is expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_a_hunk_is_taken_back_in_any_encoding(encoding: str) -> None:
    """Byte order mark, line ends and the bytes of the other lines are as they were."""
    before, after, now = (
        text.encode(encoding) for text in ("é1\r\n2\r\n3\n", "é1\r\nzwei\r\n3\n", "é1!\r\nzwei\r\n3\nü")
    )
    codec = common_codec(before, after, now)
    assert codec is not None
    text = revert(codec.decode(before), codec.decode(after), codec.decode(now)).text
    assert text is not None
    assert codec.encode(text) == "é1!\r\n2\r\n3\nü".encode(encoding)
