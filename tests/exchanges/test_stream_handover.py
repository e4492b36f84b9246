"""A connection that is replaced in time costs nothing; one that is lost says what is missing. The consumer here asks for exactly that."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from app.exchanges.binance_stream import BinanceStreams
from tests.exchanges.stream_venue import Listener, StreamVenue, klines, listening, stream_venue, streams_at, until
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio
BTC = "btcusdt@kline_1m"


def venue_time() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def assert_seamless(listener: Listener, *streams: str) -> None:
    """It was told once that each stream is live, and every minute since came as a message."""
    assert not listener.disconnected
    assert sum(len(event.streams) for event in listener.connected) == len(streams)
    for stream in streams:
        assert not listener.missing(stream)


@row(14)
async def test_a_connection_is_replaced_before_the_venue_cuts_it_and_not_one_message_is_missed() -> None:
    names = klines(20)
    async with stream_venue(every_s=0.005) as venue:
        streams = streams_at(venue, streams=names, rotate_after_s=0.3)
        async with listening(streams, venue) as listener:
            await until(lambda: len(venue.peers) >= 5)
            await listener.hears_more(names[0])
            assert len(venue.open) <= 2

        assert streams.reconnects == 0
    assert_seamless(listener, *names)


@row(14)
async def test_when_the_server_announces_its_end_another_connection_takes_over_before() -> None:
    async with stream_venue(every_s=0.005) as venue:
        streams = streams_at(venue, streams=klines(250))
        async with listening(streams, venue) as listener:
            await until(lambda: len(listener.live) == 250)
            count = len(listener.connected)
            venue.handshake_s = 0.1
            await venue.open[0].shut_down()
            await until(lambda: len(venue.peers) == 2 and len(venue.open) == 1)
            assert venue.open == venue.peers[1:]
            await listener.hears_more("s249@kline_1m")

    assert not listener.disconnected
    assert len(listener.connected) == count
    assert not any(listener.missing(name) for name in klines(250))


@row(14)
async def test_a_connection_that_lags_is_replaced_and_what_it_still_brings_is_waited_for() -> None:
    async with stream_venue(every_s=0.01) as venue:
        streams = streams_at(venue, streams=[BTC], venue_time=venue_time, lag_s=0.3, lag_for_s=0.2, overlap_s=3)
        async with listening(streams, venue) as listener:
            await listener.hears_more(BTC)
            assert abs(streams.connections[0].lag_ms or 999) < 300
            venue.open[0].lag_ms = 500
            await until(lambda: len(venue.peers) == 2)
            await until(lambda: len(streams.connections) == 2)
            both_since = time.monotonic()
            await until(lambda: len(venue.open) == 1)
            waited_s = time.monotonic() - both_since
            assert venue.open == venue.peers[1:]

    assert waited_s >= 0.3, "what was half a second behind has half a second more to say"
    assert_seamless(listener, BTC)


async def test_a_venue_that_lags_on_every_connection_is_not_asked_for_new_ones_without_end() -> None:
    async with stream_venue(every_s=0.01) as venue:
        far_away = streams_at(
            venue, streams=[BTC], venue_time=lambda: venue_time() + timedelta(seconds=9), lag_s=3, lag_for_s=0.1, overlap_s=0.05
        )
        async with listening(far_away, venue):
            await asyncio.sleep(1.5)

        assert 2 <= len(venue.peers) <= 4, "after 0.1, 0.2, 0.4 and 0.8 s"


@row(11)
async def test_a_silent_connection_gets_a_standby_which_takes_over_and_what_was_silent_is_asked_for() -> None:
    async with stream_venue(every_s=0.01) as good, stream_venue(every_s=0.01) as bad:
        streams = streams_at(bad, good, streams=[BTC], silence_standby_s=0.5, silence_kill_s=9)
        async with listening(streams, bad) as listener:
            await listener.hears_more(BTC)
            bad.open[0].is_silent = True
            silent_at = time.monotonic()
            await until(lambda: len(good.peers) == 1)
            assert time.monotonic() - silent_at >= 0.45
            await until(lambda: not bad.open)
            await until(lambda: len(listener.connected) == 2)

            assert streams.live == {BTC}
            assert streams.reconnects == 1
    assert not listener.disconnected
    assert listener.connected[1].streams == {BTC}


@row(11)
async def test_a_connection_that_was_silent_and_speaks_again_leaves_without_a_trace() -> None:
    async with stream_venue(every_s=0.01) as venue:
        streams = streams_at(venue, streams=[BTC], silence_standby_s=0.5, silence_kill_s=9)
        async with listening(streams, venue) as listener:
            await listener.hears_more(BTC)
            venue.handshake_s = 1.0
            venue.open[0].is_silent = True
            held = venue.minute
            await asyncio.sleep(0.75)
            # What was held up on the way arrives after all.
            for minute in range(held, venue.minute + 1):
                await venue.open[0].socket.send(venue.kline(BTC, minute))
            venue.open[0].is_silent = False
            await until(lambda: len(venue.peers) == 2 and len(venue.open) == 1)
            await listener.hears_more(BTC)

    assert_seamless(listener, BTC)


@row(11)
async def test_a_connection_that_stays_silent_is_dropped_when_no_standby_helps() -> None:
    async with stream_venue(every_s=0.01) as venue:
        streams = streams_at(venue, streams=[BTC], silence_standby_s=0.4, silence_kill_s=0.8)
        async with listening(streams, venue) as listener:
            await listener.hears_more(BTC)
            venue.newcomers_are_silent = True
            venue.open[0].is_silent = True
            began = time.monotonic()
            await until(lambda: bool(listener.disconnected))
            assert 0.75 <= time.monotonic() - began < 4
            assert listener.disconnected[0].reason == "no data for 0.8 s"
            venue.newcomers_are_silent = False
            await until(lambda: listener.live == {BTC})
            await listener.hears_more(BTC)

    assert not listener.missing(BTC)


async def test_a_process_that_stood_still_takes_nobody_for_silent() -> None:
    def stand_still() -> None:
        time.sleep(1.5)

    async with stream_venue(every_s=0.01) as venue:
        streams = streams_at(venue, streams=[BTC], silence_standby_s=0.6, silence_kill_s=1.2)
        async with listening(streams, venue) as listener:
            await listener.hears_more(BTC)
            venue.open[0].is_silent = True
            stand_still()
            await asyncio.sleep(0.1)
            venue.open[0].is_silent = False
            await listener.hears_more(BTC)
            assert len(venue.peers) == 1

    assert not listener.disconnected


@row(11)
async def test_doubled_streams_outlive_either_connection() -> None:
    async with stream_venue(every_s=0.005) as one, stream_venue(every_s=0.005) as other:
        other.minute = one.minute
        streams = streams_at(one, other, streams=["plain@kline_1m"])
        async with listening(streams, one) as listener:
            await streams.double([BTC])
            await until(lambda: listener.live == {BTC, "plain@kline_1m"} and len(other.open) == 1 and bool(other.open[0].streams))
            assert {(health.url, health.is_double) for health in streams.connections} == {(one.url, False), (other.url, True)}
            for venue in (other, one, other, one):
                await until(lambda: len(streams.connections) == 2 and all(health.streams for health in streams.connections))
                await asyncio.sleep(0.05)
                made = len(one.peers) + len(other.peers)
                (venue.open or one.open)[-1].cut()
                await until(lambda: len(one.peers) + len(other.peers) > made)  # noqa: B023  # waited for within the round
            await until(lambda: listener.live == {BTC, "plain@kline_1m"} and len(streams.connections) == 2)
            await streams.undouble([BTC])
            await until(lambda: len(streams.connections) == 1)

    assert all(event.streams == {"plain@kline_1m"} for event in listener.disconnected)
    assert listener.disconnected


async def test_a_double_keeps_away_from_the_host_of_the_other_connection() -> None:
    async with stream_venue() as one, stream_venue() as two, stream_venue() as three:
        streams = streams_at(one, two, three, streams=[BTC])
        await streams.double([BTC])
        async with listening(streams, one) as listener:
            await until(lambda: len(one.open) == 1 and len(two.open) == 1 and listener.live == {BTC})
            one.open[0].cut()
            await until(lambda: len(two.open) == 2 and len(streams.connections) == 2)
            double = next(peer for peer in two.open if peer is two.peers[0])
            double.cut()
            await until(lambda: len(three.open) == 1)
            three.open[0].cut()
            await until(lambda: len(one.open) == 1)
            one.open[0].cut()
            await until(lambda: len(three.open) == 1)

    assert len(two.peers) == 2, "where the other is, it does not go"


@pytest.mark.parametrize("seed", range(3))
@row(11, 14)
async def test_whatever_happens_to_connections_no_stream_is_forgotten_and_no_hole_untold(seed: int) -> None:
    wanted = set(klines(12))
    async with stream_venue(every_s=0.004) as venue:
        streams = streams_at(
            venue,
            streams=wanted,
            streams_per_connection=5,
            silence_standby_s=0.15,
            silence_kill_s=0.3,
            rotate_after_s=0.8,
            attempts_per_5_min=10_000,
        )
        async with listening(streams, venue) as listener:
            mischief = Mischief(seed, venue, streams, wanted)
            for _ in range(20):
                await mischief.happen()
            venue.newcomers_are_silent = False
            await until(lambda: streams.live == wanted and listener.live >= wanted)
            for stream in sorted(wanted):
                await listener.hears_more(stream)
            assert {stream: listener.missing(stream) for stream in wanted if listener.missing(stream)} == {}
            assert set(streams.streams) == wanted


class Mischief:
    """What venues do to connections, and users to subscriptions, at random."""

    def __init__(self, seed: int, venue: StreamVenue, streams: BinanceStreams, wanted: set[str]) -> None:
        self._chance = random.Random(seed)
        self._venue = venue
        self._streams = streams
        self._wanted = wanted

    async def happen(self) -> None:
        await self._chance.choice((self.cut, self.cut, self.cut, self.end, self.newcomers, self.more, self.fewer, self.double))()
        await asyncio.sleep(self._chance.uniform(0, 0.15))

    async def cut(self) -> None:
        for peer in self._venue.open[:1] if self._chance.random() < 0.5 else self._venue.open[-1:]:
            peer.cut()

    async def end(self) -> None:
        for peer in self._venue.open[:1]:
            match self._chance.randrange(3):
                case 0:
                    peer.is_silent = True
                case 1:
                    await peer.socket.close(1012)
                case 2:
                    await peer.shut_down()

    async def newcomers(self) -> None:
        self._venue.newcomers_are_silent = self._chance.random() < 0.3
        self._venue.handshake_s = self._chance.choice((0, 0, 0.05))

    async def more(self) -> None:
        name = f"n{self._chance.randrange(20)}@kline_1m"
        self._wanted.add(name)
        await self._streams.subscribe([name])

    async def fewer(self) -> None:
        name = self._chance.choice(sorted(self._wanted))
        self._wanted.discard(name)
        await self._streams.unsubscribe([name])

    async def double(self) -> None:
        name = self._chance.choice(sorted(self._wanted))
        await (self._streams.double([name]) if self._chance.random() < 0.7 else self._streams.undouble([name]))
