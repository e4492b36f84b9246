"""The bodies that are seen in the field, and what each is understood as: what cannot be traded on a spot account says why."""

import json

import pytest

from tests.shared_data import shared_data
from tests.webhooks.bodies import BODIES, table, understood

#: What the recorded bodies are understood as. Their collector's `meaning` is a hint; a spot account has no perpetuals and no shorts.
RECORDED = {
    "wh-d01": "buy BTCUSDT base 0.05",
    "wh-d02": "close ETHUSDT",
    "wh-d03": "buy ETHUSDT base 0.25 stop -2% target 4%",
    "wh-d04": "buy -",
    "wh-d05": "buy BTC/USDT",
    "wh-d06": "close BTC/USDT",
    "wh-d07": "buy BTCUSDT base 0.05",
    "wh-d08": "buy BTCUSDT",
    "wh-d09": "none ETHUSDT",
    "wh-d10": "close BTCUSDT",
    "wh-d11": "buy BTCUSDT base 0.01",
    "wh-d12": "buy BTCUSDT free 0.05",
    "wh-d13": "cancel BTCUSDT; close BTCUSDT; none BTCUSDT",
    "wh-d14": "SYMBOL_DERIVATIVE",
    "wh-d15": "SYMBOL_DERIVATIVE",
    "wh-d16": "buy BTCUSDT",
    "wh-d17": "buy BTCUSDT base 0.01 limit 30000 target 35000",
    "wh-d18": "buy BTCUSDT quote 45 limit -3% stop -17.5258% target 13.4021%",
    "wh-d19": "SYMBOL_DERIVATIVE",
    "wh-d20": "SYMBOL_DERIVATIVE",
    "wh-d21": "SYMBOL_DERIVATIVE",
    "wh-d22": "SIDE_MISSING",
    "wh-d23": "close BTCUSDT",
    "wh-d24": "sell ETHUSDT",
    "wh-d25": "target ETHUSDT -0.05",
    "wh-d26": "buy BTCUSDT",
    "wh-d27": "buy BTCUSDT",
    "wh-d28": "buy BTCUSDT",
    "wh-d29": "buy BTCUSDT base 0.05",
    "wh-d30": "UNREADABLE_TEXT",
    "wh-d31": "buy BTCUSDT",
    "wh-d32": "SMART_QUOTES",
    "wh-d33": "NUMBER_INVALID",
    "wh-d34": "buy BTCUSDT",
}


def test_every_recorded_body_is_understood_or_refused_as_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    lines = (shared_data() / "webhooks" / "tradingview-bodies.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    found = {sample["id"]: understood(sample["body"]) for sample in samples}
    with capsys.disabled():
        print("\n" + table([(f"{sample['id'][3:]} {sample['platform']}", found[sample["id"]]) for sample in samples]))
    assert found == RECORDED


def test_every_kind_of_body_is_understood_or_refused_as_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    found = [(kind, understood(body)) for kind, body, _ in BODIES]
    with capsys.disabled():
        print("\n" + table(found))
    assert found == [(kind, expected) for kind, _, expected in BODIES]
