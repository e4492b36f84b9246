import numpy as np
import pytest

from app.domain.arrays import EXIT, LONG, SHORT
from app.domain.simulation import Reason, simulate
from app.sandbox.guest.columns import Column, Table
from app.sandbox.guest.guest import simulation_costs
from app.sandbox.messages import Failed, Run
from tests.sandbox.guest.market import COSTS, decisions_of, described, guest_with, made_candles
from tests.sandbox.guest.three_styles import TEMPLATE

CANDLES = made_candles(400)
METHODS = {
    "should_long": "self.candles['close'].iloc[-1] > self.candles['open'].iloc[-1]",
    "should_short": "False",
    "calculate_position_size": "0.5",
    "calculate_stop_loss": "0.0",
    "calculate_take_profit": "0.0",
}


def template(*, extra: str = "", head: str = "", **methods: str) -> str:
    body = "".join(f"    def {name}(self):\n        return {returned}\n\n" for name, returned in {**METHODS, **methods}.items())
    return (
        f"{head}\nclass Old(Strategy):\n{extra}\n"
        "    def __init__(self, candles, balance, position=None):\n"
        "        self.candles, self.balance, self.position = candles, balance, position\n\n"
        f"{body}"
    )


def test_it_is_recognised_and_can_only_be_long_unless_it_says_so() -> None:
    guest = guest_with(CANDLES)

    told = described(guest, template(extra='    timeframe = "4h"\n    warm_up = 30\n'))
    assert (told.style, told.timeframe, told.warm_up, told.can_short) == ("template", "4h", 30, False)
    assert described(guest, template(extra="    allow_short = True\n")).can_short


@pytest.mark.parametrize(
    "source",
    [
        TEMPLATE.replace("class MaNouvelleStrategie(Strategy)", "class MaNouvelleStrategie"),
        "from abc import ABC, abstractmethod\n\nclass Strategy(ABC):\n    @abstractmethod\n    def should_long(self):\n        pass\n\n"
        + TEMPLATE,
        "from aristobot import Strategy\n"
        + TEMPLATE.replace(
            "        self.candles = candles\n        self.balance = balance\n        self.position = position\n",
            "        super().__init__(candles, balance, position)\n",
        ),
    ],
    ids=["without a base", "with a base of its own", "with our base and super"],
)
def test_it_may_extend_what_it_likes(source: str) -> None:
    assert (decisions_of(source, CANDLES, start=100).flags == decisions_of(TEMPLATE, CANDLES, start=100).flags).all()


def test_sizes_up_to_one_are_fractions_and_above_amounts() -> None:
    fraction = decisions_of(template(calculate_position_size="0.25"), CANDLES)
    amount = decisions_of(template(calculate_position_size="self.balance * 0.25"), CANDLES)
    nothing = decisions_of(template(calculate_position_size="0.0"), CANDLES)

    assert fraction.size[fraction.flags == LONG].tolist() == [0.25]
    assert amount.size[amount.flags == LONG].tolist() == [0.25]
    assert not nothing.flags.any()


def test_stops_below_one_are_fractions_and_from_one_on_prices() -> None:
    decisions = decisions_of(template(calculate_stop_loss="0.02", calculate_take_profit="self.candles.close.iloc[-1] * 1.1"), CANDLES)
    row = int(np.flatnonzero(decisions.flags)[0])

    assert decisions.stop_loss[row] == 0.02
    assert np.isnan(decisions.stop[row])
    assert decisions.target[row] == CANDLES.close[row] * 1.1
    assert np.isnan(decisions.take_profit[row])


def test_the_opposite_signal_leaves_a_long_and_turns_round_only_where_shorts_are_allowed() -> None:
    falls = "self.candles['close'].iloc[-1] < self.candles['open'].iloc[-1]"

    only_long = decisions_of(template(should_short=falls), CANDLES)
    both = decisions_of(template(should_short=falls, extra="    allow_short = True\n"), CANDLES)

    assert set(only_long.flags.tolist()) == {0, LONG, EXIT}
    assert set(both.flags.tolist()) == {0, LONG, SHORT, EXIT}


def test_an_exit_method_of_its_own_takes_the_place_of_the_opposite_signal() -> None:
    held = template(should_exit="self.position['entry_price'] > 0 and len(self.candles) % 7 == 0", should_short="True")
    decisions = decisions_of(held, CANDLES)

    assert ((np.flatnonzero(decisions.flags == EXIT) + 1) % 7 == 0).all()


def test_it_is_made_with_the_balance_and_the_position_of_the_moment() -> None:
    source = template(
        should_short="self.position is not None and self.position['side'] == 'long' and self.balance > 0 and len(self.candles) % 5 == 0",
        should_long="self.position is None and abs(self.balance - 10_000) < 9_000",
    )
    decisions = decisions_of(source, CANDLES)
    simulation = simulate(CANDLES, decisions, simulation_costs(COSTS))

    assert len(simulation.trades) > 20
    assert {trade.reason for trade in simulation.trades} <= {Reason.EXIT, None}


def test_it_sees_the_past_alone_and_no_more_than_its_window() -> None:
    lengths = "print(len(self.candles), self.candles.time.iloc[-1]) is None and False"
    guest = guest_with(CANDLES)
    described(guest, template(should_long=lengths, extra="    window = 50\n    warm_up = 45\n"))

    output = getattr(guest.handle(Run(start=0, costs=COSTS)), "output", "").split("\n")

    assert output[0] == f"45 {CANDLES.time[44]}"
    assert output[9] == f"50 {CANDLES.time[53]}"


def test_parameters_of_a_later_template_are_told_and_given() -> None:
    declared = "    STRATEGY_PARAMS = {'length': {'default': 3, 'min': 2, 'max': 9, 'step': 1, 'type': 'int', 'label': 'Longueur'}}\n"
    source = template(extra=declared, should_long="self.params['length'] == 7").replace(
        "position=None):\n", "position=None, params=None):\n        self.params = params\n"
    )
    guest = guest_with(CANDLES)

    (parameter,) = described(guest, source).parameters
    assert (parameter.name, parameter.kind, parameter.default, parameter.low, parameter.high) == ("length", "int", 3, 2, 9)
    assert parameter.help == "Longueur"
    assert not decisions_of(source, CANDLES).flags.any()
    assert decisions_of(source, CANDLES, length=7).flags.any()


@pytest.mark.parametrize(
    ("method", "returned"), [("calculate_stop_loss", "-1"), ("calculate_position_size", "'all'"), ("calculate_take_profit", "float('nan')")]
)
def test_an_answer_that_makes_no_sense_is_refused(method: str, returned: str) -> None:
    guest = guest_with(CANDLES)
    described(guest, template(**{method: returned}))

    reply = guest.handle(Run(start=0, costs=COSTS))

    assert isinstance(reply, Failed)
    assert (reply.kind, reply.message.split("(")[0]) == ("RETURN_TYPE", method)
    assert reply.line > 0


CLOSE = Column([3.0, 1.0, 4.0, np.nan, 5.0, 9.0])


def test_columns_compute_as_those_of_the_library_they_stand_in_for() -> None:
    assert (CLOSE * 2 + 1).tolist()[:3] == [7, 3, 9]
    assert (CLOSE > 3).tolist() == [False, False, True, False, True, True]
    assert CLOSE.iloc[-1] == CLOSE.iat[-1] == CLOSE[-1] == 9
    assert CLOSE.iloc[-2:].tolist() == CLOSE.tail(2).tolist() == [5, 9]
    assert CLOSE.shift(1).tolist()[1:3] == [3, 1]
    assert CLOSE.diff().tolist()[1:3] == [-2, 3]
    assert CLOSE.pct_change().iloc[2] == 3
    assert CLOSE.fillna(0).tolist()[3] == 0
    assert CLOSE.ffill().tolist()[3] == 4
    assert CLOSE.dropna().rolling(2).mean().tolist()[1:] == [2, 2.5, 4.5, 7]
    assert CLOSE.dropna().rolling(2).max().tolist()[1:] == [3, 4, 5, 9]
    assert CLOSE.dropna().std() == pytest.approx(np.std([3, 1, 4, 5, 9], ddof=1))
    assert (CLOSE.mean(), CLOSE.max(), CLOSE.min(), CLOSE.sum(), CLOSE.median()) == (4.4, 9, 1, 22, 4)
    assert CLOSE.where(CLOSE > 3, 0).fillna(0).tolist() == [0, 0, 4, 0, 5, 9]
    assert np.maximum(CLOSE.fillna(0), 4).tolist() == [4, 4, 4, 4, 5, 9]
    with pytest.raises(TypeError, match="is not one yes or no"):
        bool(CLOSE > 3)


@pytest.mark.parametrize("adjust", [True, False])
def test_exponential_weights_follow_their_definition(*, adjust: bool) -> None:
    values, alpha = np.array([2.0, 4.0, 3.0, 7.0]), 0.5

    found = Column(values).ewm(alpha=alpha, adjust=adjust).mean().tolist()

    for row in range(4):
        weights = [(1 - alpha) ** (row - each) * (1 if adjust or each == 0 else alpha) for each in range(row + 1)]
        assert found[row] == pytest.approx(np.dot(weights, values[: row + 1]) / sum(weights))
    assert Column(values).ewm(span=3, adjust=adjust).mean().tolist() == found


def test_a_table_has_columns_rows_and_lengths() -> None:
    table = Table({"close": np.array([1.0, 2.0, 3.0]), "open": np.array([3.0, 2.0, 1.0])})
    table["both"] = table["close"] + table.open
    table["one"] = 1

    assert table.columns == ["close", "open", "both", "one"]
    assert (len(table), table.shape, table.empty, "both" in table) == (3, (3, 4), False, True)
    assert table.iloc[-1].close == table.iloc[-1]["close"] == 3
    assert table.iloc[-2:]["open"].tolist() == [2, 1]
    assert table[table["close"] > 1]["close"].tolist() == [2, 3]
    assert table.tail(1)["both"].tolist() == [4]
    assert table[["close"]].columns == ["close"]
    with pytest.raises(AttributeError, match="candles has no volume; its columns are close, open, both, one"):
        _ = table.volume


INDICATORS = """
import pandas_ta as ta
import numpy as np

class Old(Strategy):
    def __init__(self, candles, balance, position=None):
        c = candles
        for name in "ema sma rsi wma dema tema roc mom hma kama cmo linreg zlma rma t3 trima".split():
            assert len(getattr(ta, name)(c["close"], length=5)) == len(c), name
        for name in ("atr", "natr", "cci", "willr"):
            assert len(getattr(ta, name)(c["high"], c["low"], c["close"], length=5)) == len(c), name
        macd = ta.macd(c["close"], fast=4, slow=8, signal=3)
        assert macd["MACDh_4_8_3"].iloc[-1] == macd["MACD_4_8_3"].iloc[-1] - macd["MACDs_4_8_3"].iloc[-1]
        bands = ta.bbands(c["close"], length=5, std=2)
        assert bands["BBL_5_2.0"].iloc[-1] <= bands["BBM_5_2.0"].iloc[-1] <= bands["BBU_5_2.0"].iloc[-1]
        assert ta.adx(c.high, c.low, c.close, length=5).columns == ["ADX_5", "DMP_5", "DMN_5"]
        assert ta.stoch(c.high, c.low, c.close)["STOCHk_14_3_3"].iloc[-1] >= 0
        assert len(ta.obv(c.close, c.volume)) == len(ta.mfi(c.high, c.low, c.close, c.volume)) == len(c)
        assert set(ta.cross(c.close, c.open).tolist()) <= {0, 1}

    def should_long(self):
        return False

    def calculate_position_size(self):
        return 0.1
"""


def test_the_indicators_of_the_library_it_used_are_there() -> None:
    guest = guest_with(CANDLES)
    described(guest, INDICATORS.replace("class Old(Strategy):\n", "class Old(Strategy):\n    warm_up = 60\n"))

    reply = guest.handle(Run(start=0, costs=COSTS))

    assert not isinstance(reply, Failed), reply
