import asyncio
import time
from contextlib import aclosing

import orjson
import pytest
from websockets.asyncio.server import ServerConnection

from app.exchanges.binance_messages import BookTicker
from app.exchanges.binance_stream import BinanceStreams, Connected, Disconnected, StreamConfig, StreamEvent
from tests.exchanges.stream_venue import Peer, klines, listening, server, stream_venue, streams_at, until
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio
BOOK = orjson.dumps({"u": 1, "s": "ETHUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}).decode()
BTC = "btcusdt@kline_1m"
CANARY = "btcusdt@bookTicker"


async def take(url: str, count: int) -> list[StreamEvent]:
    async with asyncio.timeout(20), aclosing(streams_at(url, streams=["ethusdt@bookTicker"]).events()) as events:
        return [await anext(events) for _ in range(count)]


@row(14)
async def test_a_connection_that_ends_is_made_again() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send(BOOK)

    async with server(script) as url:
        first = await take(url, 5)

    assert [type(event) for event in first] == [Connected, BookTicker, Disconnected, Connected, BookTicker]
    assert isinstance(first[2], Disconnected)
    assert "received 1000" in first[2].reason
    assert first[2].streams == {"ethusdt@bookTicker"}


async def test_a_server_that_is_not_there_is_tried_again_and_less_often_each_time() -> None:
    streams = streams_at("ws://127.0.0.1:9", streams=[BTC])
    async with listening(streams) as listener:
        await until(lambda: len(listener.disconnected) >= 1)
        began = time.monotonic()
        await until(lambda: len(listener.disconnected) >= 4)

    assert time.monotonic() - began >= 0.8 * (0.5 + 1.0), "half a second, a second, …, each a fifth more or less"
    assert all(event.streams == {BTC} and event.reason for event in listener.disconnected)
    assert not listener.connected
    assert streams.reconnects == 0, "nothing was there to be lost"


async def test_the_venue_is_asked_for_connections_no_more_often_than_it_allows() -> None:
    async def script(connection: ServerConnection) -> None:
        attempts.append(time.monotonic())
        await connection.send(BOOK)

    attempts: list[float] = []
    async with server(script) as url, listening(streams_at(url, streams=["ethusdt@bookTicker"], attempts_per_5_min=4)) as listener:
        await until(lambda: len(listener.disconnected) >= 2)
        await asyncio.sleep(1.5)

    assert len(attempts) == 2, "two at once, the other two spread over five minutes"


async def test_a_venue_that_refuses_handshakes_is_left_alone_for_as_long_as_it_says() -> None:
    handshakes: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handshakes.append((await reader.readuntil(b"\r\n\r\n")).decode().split()[1])
        writer.write(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    plain = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    async with plain, listening(streams_at(f"ws://127.0.0.1:{port}", streams=[BTC])) as listener:
        await until(lambda: len(listener.disconnected) == 1)
        await asyncio.sleep(1.2)

    assert len(handshakes) == 1
    assert "429" in listener.disconnected[0].reason


async def test_an_address_that_the_venue_does_not_take_is_followed_by_requests() -> None:
    handshakes: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handshakes.append((await reader.readuntil(b"\r\n\r\n")).decode().split()[1])
        writer.write(b"HTTP/1.1 414 URI Too Long\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    plain = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    async with plain, listening(streams_at(f"ws://127.0.0.1:{port}", streams=[BTC])):
        await until(lambda: len(handshakes) == 2)

    assert handshakes == [f"/stream?streams={CANARY}/{BTC}", f"/stream?streams={CANARY}"]


async def test_an_unreadable_message_does_not_end_the_stream() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send("{not json")
        await connection.send('{"e":"kline"}')
        await connection.send(b"\x00\xff")
        await connection.send(BOOK)
        await connection.wait_closed()

    async with server(script) as url:
        first = await take(url, 2)

    assert [type(event) for event in first] == [Connected, BookTicker]


async def test_streams_are_live_when_the_venue_has_confirmed_them_and_data_comes() -> None:
    async with stream_venue() as venue:
        venue.newcomers_are_silent = True
        streams = streams_at(venue, streams=klines(400))
        async with listening(streams, venue) as listener:
            await until(lambda: len(venue.open) == 1 and len(venue.open[0].streams) == 401)
            assert not listener.events
            venue.open[0].is_silent = False
            await until(lambda: listener.live == set(klines(400)))

    assert streams.streams == tuple(klines(400))


async def test_the_canary_is_not_passed_on_to_those_who_did_not_ask_for_it() -> None:
    async with stream_venue() as venue, listening(streams_at(venue, streams=["ethusdt@bookTicker"])) as listener:
        await until(lambda: listener.books == {"ETHUSDT"})
        await asyncio.sleep(0.1)
        assert venue.open[0].streams == {CANARY, "ethusdt@bookTicker"}
        assert listener.books == {"ETHUSDT"}

        await listener.streams.subscribe([CANARY])
        await until(lambda: listener.books == {"ETHUSDT", "BTCUSDT"})
        assert listener.live == {CANARY, "ethusdt@bookTicker"}

        await listener.streams.unsubscribe([CANARY])
        listener.books.clear()
        await asyncio.sleep(0.1)
        assert listener.books == {"ETHUSDT"}


async def test_more_streams_than_a_connection_carries_are_spread_and_empty_connections_closed() -> None:
    names = klines(2500)
    async with stream_venue(every_s=0.5) as venue:
        streams = streams_at(venue, streams=names)
        async with listening(streams, venue) as listener:
            await until(lambda: listener.live == set(names))
            assert sorted(len(peer.streams) for peer in venue.open) == [501, 1001, 1001]
            assert sorted(health.streams for health in streams.connections) == [500, 1000, 1000]

            await streams.subscribe(f"more{number}@kline_1m" for number in range(400))
            await until(lambda: len(listener.live) == 2900)
            assert sorted(len(peer.streams) for peer in venue.open) == [901, 1001, 1001]

            await streams.unsubscribe(names[1000:2000])
            await until(lambda: len(venue.open) == 2)
            await streams.unsubscribe(names[:990])
            await until(lambda: sorted(len(peer.streams) for peer in venue.open) == [11, 901])

    assert not listener.disconnected
    for peer in venue.peers:
        assert all(len(orjson.dumps(request)) <= 4_088 for request in peer.requests), "Binance answers nothing longer"


async def test_the_venue_never_gets_more_than_five_messages_in_a_second() -> None:
    async with stream_venue(every_s=0.2, ping_every_s=0.5) as venue:
        streams = streams_at(venue, streams=klines(1000), between_requests_s=StreamConfig().between_requests_s)
        async with listening(streams, venue) as listener:
            await until(lambda: len(listener.live) == 1000)
            await streams.unsubscribe(klines(300))
            await streams.subscribe(["late@kline_1m"])
            await until(lambda: "late@kline_1m" in listener.live)

    (peer,) = venue.peers
    assert len(peer.requests) >= 5
    assert busiest_second(peer) <= 5


def busiest_second(peer: Peer) -> int:
    times = sorted(peer.sent_at)
    return max(sum(1 for other in times if at <= other < at + 1) for at in times)


async def test_subscriptions_change_whatever_the_connection_does() -> None:
    async with stream_venue() as venue:
        venue.handshake_s = 0.1
        streams = streams_at(venue, streams=["a@kline_1m"])
        await streams.subscribe(["before@kline_1m"])
        async with listening(streams, venue) as listener:
            await asyncio.sleep(0.05)
            await streams.subscribe(["during@kline_1m", "gone@kline_1m"])
            await streams.unsubscribe(["gone@kline_1m"])
            await until(lambda: listener.live == {"a@kline_1m", "before@kline_1m", "during@kline_1m"})
            await streams.subscribe(["after@kline_1m", "after@kline_1m", "a@kline_1m"])
            await until(lambda: "after@kline_1m" in listener.live)
            venue.open[0].cut()
            await until(lambda: not listener.live)
            await streams.subscribe(["between@kline_1m"])
            await streams.unsubscribe(["before@kline_1m"])
            wanted = {f"{name}@kline_1m" for name in ("a", "during", "after", "between")}
            await until(lambda: listener.live == wanted)
            assert venue.open[0].streams == {*wanted, CANARY}
            await streams.unsubscribe(["a@kline_1m"])
            await until(lambda: venue.open[0].streams == {*wanted, CANARY} - {"a@kline_1m"})
            assert streams.live == wanted - {"a@kline_1m"}
            assert streams.reconnects == 1

    assert not any(listener.missing(name) for name in wanted)


async def test_one_refused_name_costs_no_other_its_subscription() -> None:
    bad = {"s3@kline_1m", "s170@kline_1m"}
    async with stream_venue() as venue:
        venue.refuses = bad
        async with listening(streams_at(venue), venue) as listener:
            await listener.streams.subscribe(["first@kline_1m"])
            await until(lambda: listener.live == {"first@kline_1m"})
            await listener.streams.subscribe(klines(200))
            await until(lambda: listener.live == {"first@kline_1m", *klines(200)} - bad)
            await listener.hears_more("s4@kline_1m")

    assert len(venue.peers) == 1
    assert not listener.disconnected


async def test_a_subscription_without_an_answer_gets_another_connection() -> None:
    async with stream_venue() as venue:
        streams = streams_at(venue, streams=["a@kline_1m"], answer_timeout_s=0.2)
        async with listening(streams, venue) as listener:
            await until(lambda: listener.live == {"a@kline_1m"})
            venue.open[0].is_deaf = True
            await streams.subscribe(["b@kline_1m"])
            await until(lambda: listener.live == {"a@kline_1m", "b@kline_1m"})

    assert ["not answered" in event.reason for event in listener.disconnected] == [True]


async def test_asked_to_reconnect_it_makes_new_connections() -> None:
    async with stream_venue() as venue:
        streams = streams_at(venue, streams=klines(3), streams_per_connection=2)
        async with listening(streams, venue) as listener:
            await until(lambda: listener.live == set(klines(3)))
            await streams.reconnect()
            await until(lambda: not listener.live)
            await until(lambda: listener.live == set(klines(3)))

    assert len(venue.peers) == 4
    assert streams.reconnects == 2
    assert not listener.missing("s0@kline_1m")


async def test_a_slow_consumer_slows_the_venue_down_and_is_not_taken_for_silence() -> None:
    sent = 0

    async def script(connection: ServerConnection) -> None:
        nonlocal sent
        padded = orjson.dumps({**orjson.loads(BOOK), "padding": "x" * 2_000})
        while True:
            await connection.send(padded)
            sent += 1

    async with server(script) as url:
        quick = streams_at(url, streams=["ethusdt@bookTicker"], silence_standby_s=0.1, silence_kill_s=0.2)
        async with asyncio.timeout(20), aclosing(quick.events()) as events:
            assert isinstance(await anext(events), Connected)
            while True:
                before = sent
                await asyncio.sleep(0.5)
                if sent == before:
                    break
            stopped_at = sent
            assert stopped_at < 30_000, "what two sockets, the library and we hold"
            for _ in range(stopped_at):
                assert isinstance(await anext(events), BookTicker)
            assert sent > stopped_at, "it goes on when the consumer does"
            assert quick.reconnects == 0


async def take_all(streams: BinanceStreams) -> None:
    async with asyncio.timeout(20), aclosing(streams.events()) as events:
        async for _ in events:
            pass


async def test_a_failure_within_reaches_the_consumer() -> None:
    def broken() -> None:
        raise RuntimeError("the clock is gone")

    async with stream_venue() as venue:
        streams = streams_at(venue, streams=[BTC], venue_time=broken)
        with pytest.raises(ExceptionGroup) as caught:
            await take_all(streams)
    assert caught.group_contains(RuntimeError, match="the clock is gone")


async def test_the_streams_can_be_read_again_after_their_consumer_left() -> None:
    async with stream_venue() as venue:
        streams = streams_at(venue, streams=[BTC])
        for _ in range(2):
            async with listening(streams, venue) as listener:
                await listener.hears_more(BTC)
            await until(lambda: not venue.open)
            assert not streams.connections


async def test_connections_tell_how_they_are() -> None:
    async with stream_venue() as venue:
        streams = streams_at(venue, streams=[BTC])
        async with listening(streams, venue) as listener:
            await listener.hears_more(BTC)
            await until(lambda: streams.connections[0].received >= 3)
            health = streams.connections[0]
            assert (health.url, health.streams, health.is_double, health.lag_ms) == (venue.url, 1, False, None)
            venue.open[0].is_silent = True
            await until(lambda: streams.connections[0].age_s >= 0.05)
            assert streams.connections[0].opened_at.tzinfo is not None
