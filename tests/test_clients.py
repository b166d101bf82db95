"""The registry by itself; its deaths over real sockets are in test_deaths.py."""

from __future__ import annotations

import asyncio

import pytest

from pairside.clients import DEPARTURES_KEPT, Clients, Full
from pairside.peer import Disconnect, Reason

from .memory import client


def test_the_registry_is_full_before_anything_is_counted_or_told() -> None:
    """A client too many leaves no trace."""
    clients = Clients(limit=1)
    with clients.admit(client(1)):
        with pytest.raises(Full, match="1 clients"), clients.admit(client(2)):
            raise AssertionError("it was let in")
        assert (len(clients), clients.arrivals, clients.departures_told) == (1, 1, 0)
    assert (len(clients), clients.arrivals, clients.departures_told) == (0, 1, 1)


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (asyncio.CancelledError, Reason.SHUTDOWN, 1001),
        (RuntimeError, Reason.CRASHED, 1011),
        (KeyboardInterrupt, Reason.CRASHED, 1011),
    ],
)
def test_the_way_out_decides_where_the_channel_knows_of_no_ending(
    error: type[BaseException], reason: Reason, code: int
) -> None:
    """Cancellation is a shutdown, anything else a crash, and the exception goes on."""
    clients = Clients()
    with pytest.raises(error), clients.admit(client(1)):
        raise error
    [departure] = clients.departures
    assert (departure.why.reason, departure.why.code) == (reason, code)


def test_what_the_channel_saw_first_wins_over_the_way_out() -> None:
    """A client that timed out and whose session is then cancelled timed out."""
    clients = Clients()
    one = client(1)
    why = Disconnect(Reason.UNRESPONSIVE, 1011, "no sign of life")
    one.peer.channel.end(why)
    with pytest.raises(asyncio.CancelledError), clients.admit(one):
        raise asyncio.CancelledError
    assert clients.departures[-1].why == why


def test_ids_are_never_used_again_and_old_departures_are_forgotten() -> None:
    """The list of departures is bounded; the counts are not."""
    clients = Clients()
    seen = set()
    for _ in range(DEPARTURES_KEPT + 20):
        one = client(clients.new_id())
        assert one.id not in seen
        seen.add(one.id)
        with clients.admit(one):
            assert list(clients) == [one]
    assert len(clients.departures) == DEPARTURES_KEPT
    assert clients.arrivals == clients.departures_told == DEPARTURES_KEPT + 20
