"""The recent past."""

from __future__ import annotations

import pytest

from pairside import journal
from pairside.journal import Journal, masked


def test_the_oldest_is_forgotten_first_and_numbers_go_on() -> None:
    """The journal is bounded, and whoever reads it twice can tell what is new."""
    book = Journal()
    for number in range(journal.EVENTS_KEPT + 10):
        book.note("kind", number, fact=number)
        book.wire(number, "<", "x")
    assert len(book.events) == journal.EVENTS_KEPT
    assert len(book.frames) == journal.FRAMES_KEPT
    first, last = book.events[0], book.events[-1]
    assert (first.number, first.client_id, first.facts) == (11, 10, {"fact": 10})
    assert last.number == journal.EVENTS_KEPT + 10


def test_a_follower_is_told_what_happens_while_it_follows() -> None:
    """Neither before nor after, and beside others."""
    book = Journal()
    book.note("before")
    told: list[str] = []
    with book.follow(lambda event: told.append(event.kind)):
        with book.follow(lambda event: told.append(event.kind.upper())):
            book.note("both")
        book.note("one")
    book.note("after")
    assert told == ["both", "BOTH", "one"]


def test_of_a_message_only_the_beginning_is_kept_but_its_length_is_whole() -> None:
    """A proposal of 10 MB costs the log a kilobyte, and bytes that are not UTF-8 can be shown."""
    book = Journal()
    book.wire(1, "<", "é" * 5_000_000)
    book.wire(1, ">", b"\xff" * 3)
    big, bad = book.frames
    assert (big.length, len(big.contents)) == (5_000_000, journal.CONTENTS_KEPT)
    assert (bad.length, bad.direction, bad.contents) == (3, ">", "\ufffd" * 3)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-REDACTED",
        "ghp_abcdefghijklmnopqrstuvwxyz012345",
        "github_pat_11ABCDEFG0abcdefghijkl",
        "glpat-abcdefghijklmnopqrst",
        "xoxb-1234567890-abcdefghij",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF_-123",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\\nMIIEow and then cut off",
    ],
)
def test_what_looks_like_a_secret_is_masked_and_the_rest_stays(secret: str) -> None:
    """Keys of the usual services by their form, wherever they stand."""
    shown = masked(f"before {secret}")
    assert shown == "before [masked]"


@pytest.mark.parametrize(
    "text",
    [
        'password = "hunter2hunter"',
        '{"authToken":"0123456789abcdef"}',
        '{\\"api_key\\": \\"0123456789abcdef\\"}',
        "Authorization: Bearer 0123456789abcdef",
        "X-Claude-Code-Ide-Authorization: 0123456789abcdef",
        "API-KEY=0123456789abcdef",
    ],
)
def test_the_value_behind_a_telling_name_is_masked(text: str) -> None:
    """Passwords and tokens by the name before them, in code, JSON and headers."""
    shown = masked(text)
    assert "[masked]" in shown
    assert "0123456789abcdef" not in shown
    assert "hunter2" not in shown


def test_ordinary_code_is_not_masked() -> None:
    """A log of nothing but masks would be of no use."""
    text = "def tokenize(text): return text.split()  # the task-list-of-sketches is not secret"
    assert masked(text) == text


def test_masking_a_hostile_text_takes_no_time() -> None:
    """No text makes the patterns backtrack without end; the test's time limit is the judge."""
    for piece in ("-----BEGIN ", "eyJaaaaaaaaaaaa.", "sk-", "password: '", "authorization: bearer ", "A", "\\"):
        masked(piece * (100_000 // len(piece)))
