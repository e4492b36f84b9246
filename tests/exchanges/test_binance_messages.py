from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pytest

from app.domain.candles import Timeframe
from app.exchanges.binance_messages import Acknowledged, AggTrade, BookTicker, KlineEvent, PartialDepth, ServerShutdown, parse
from tests.recorded import candle_rows, captured_frames

CAPTURES = [
    "binance-spot-2021-04-04-btc-eth-dot.jsonl.gz",
    "binance-spot-2021-10-12-nkn-blz-lrc-rune.jsonl.gz",
    "binanceus-2021-10-12.jsonl.gz",
    "binance-um-2021-07-22.jsonl.gz",
]
KLINE = {
    "e": "kline", "E": 1617566640123, "s": "BTCUSDT",
    "k": {"t": 1617566580000, "T": 1617566639999, "s": "BTCUSDT", "i": "1m", "o": "1.1", "c": "1.4", "h": "1.5", "l": "1.0", "v": "7.25",
          "n": 71, "x": True, "q": "1", "V": "1", "Q": "1", "B": "0"},
}  # fmt: skip


@pytest.mark.parametrize("name", CAPTURES)
def test_every_captured_frame_is_understood_or_left_alone(name: str) -> None:
    seen: Counter[str] = Counter()
    for frame in captured_frames(name):
        said = orjson.loads(frame)["data"]
        event = parse(frame.encode())
        seen[type(event).__name__] += 1
        if said.get("e") in ("kline", "aggTrade"):
            assert isinstance(event, KlineEvent | AggTrade)
            assert event.market == said["s"]
        elif "B" in said and "A" in said and "s" in said:
            assert isinstance(event, BookTicker)
            assert (event.bid, event.ask) == (Decimal(said["b"]), Decimal(said["a"]))
        else:
            assert event is None

    assert seen["KlineEvent"] > 0


def test_a_captured_close_equals_the_candle_that_the_exchange_kept() -> None:
    closed = [
        event
        for frame in captured_frames("binance-spot-2021-04-04-btc-eth-dot.jsonl.gz")
        if isinstance(event := parse(frame), KlineEvent) and event.is_closed and event.market == "BTCUSDT"
    ]
    kept = {row[0]: row[1:] for row in candle_rows("binance-BTCUSDT-1m-2021-04-02_2021-05-14.csv.gz")}

    assert closed
    for event in closed:
        bar = event.candle
        assert kept[int(bar.open_time.timestamp() * 1000)] == (bar.open, bar.high, bar.low, bar.close, bar.volume)


def test_a_kline_says_when_it_opened_and_whether_it_closed() -> None:
    event = parse(orjson.dumps({"stream": "btcusdt@kline_1m", "data": KLINE}))

    assert isinstance(event, KlineEvent)
    assert event.timeframe is Timeframe.M1
    assert event.candle.open_time == datetime(2021, 4, 4, 20, 3, tzinfo=UTC)
    assert (event.candle.open, event.candle.high, event.candle.low, event.candle.close, event.candle.volume) == (1.1, 1.5, 1.0, 1.4, 7.25)
    assert event.is_closed
    assert event.trades == 71


def test_a_raw_frame_without_envelope_means_the_same() -> None:
    assert parse(orjson.dumps(KLINE)) == parse(orjson.dumps({"stream": "btcusdt@kline_1m", "data": KLINE}))


@pytest.mark.parametrize("timeframe", ["1s", "1w", "1M"])
def test_candles_we_do_not_keep_are_left_alone(timeframe: str) -> None:
    assert parse(orjson.dumps(KLINE | {"k": KLINE["k"] | {"i": timeframe}})) is None  # type: ignore[operator]  # it is a dict


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'{"result":null,"id":3}', Acknowledged(request_id=3, error=None)),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":4}', Acknowledged(request_id=4, error="Invalid request")),
        (b'{"code":0,"msg":"Unknown property"}', Acknowledged(request_id=None, error="Unknown property")),
        (b'{"stream":"x","data":{"e":"serverShutdown","E":1}}', ServerShutdown()),
        (b'{"e":"depthUpdate","u":1,"s":"X","b":[],"a":[]}', None),
        (b'{"something":1}', None),
        (b"[1,2]", None),
        (b'{"stream":"x","data":[]}', None),
    ],
)
def test_other_messages(frame: bytes, expected: object) -> None:
    assert parse(frame) == expected


@pytest.mark.parametrize(
    "frame",
    [b"<html>", b'{"e":"kline","s":"X"}', b'{"e":"kline","k":7}', b'{"u":1,"s":"X","b":"x","B":"1","a":"1","A":"1"}', b'{"e":"aggTrade"}'],
)
def test_a_frame_that_breaks_its_promise_is_an_error(frame: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the class is the promise; orjson words its own
        parse(frame)


#: As in web-socket-streams.md, "Partial Book Depth Streams".
DEPTH = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}


def test_a_partial_book_is_its_streams_symbols_and_stays_text() -> None:
    event = parse(orjson.dumps({"stream": "bnbbtc@depth20@100ms", "data": DEPTH}))

    assert event == PartialDepth(market="BNBBTC", update_id=160, bids=[["0.0024", "10"]], asks=[["0.0026", "100"]])


def test_a_partial_book_without_a_streams_name_is_nobodys() -> None:
    assert parse(orjson.dumps(DEPTH)) is None


@pytest.mark.parametrize("rows", [[["0.0024"]], [[0.0024, "10"]], [["0.0024", "10", "1"]], "many", None, [None]])
def test_a_partial_book_of_another_shape_cannot_be_read(rows: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(orjson.dumps({"stream": "bnbbtc@depth20@100ms", "data": {**DEPTH, "asks": rows}}))
