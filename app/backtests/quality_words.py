"""What the quality checks say: each sentence a key of the catalogue, with its values by name, which are numbers in English notation."""

import re
from collections.abc import Mapping
from typing import Final

from app.backtests.report_parts import Check
from app.core.i18n import N_, SOURCE_LANGUAGE, current_language, gettext
from app.core.sentences import said_with

TITLES: Final = {
    "LOOK_AHEAD": N_("Look-ahead"),
    "RUIN": N_("Account lost"),
    "SAMPLE": N_("Sample size"),
    "FEW_MAKE_IT": N_("Few trades make the profit"),
    "OPEN_TRADE": N_("Position still open"),
    "LATER_PART": N_("Later part of the period"),
    "SLIPPAGE": N_("Twice the slippage"),
    "VOLUME": N_("Volume of the market"),
    "COSTS": N_("Share of costs"),
    "HOLDING": N_("Beside buying and holding"),
    "WARM_UP": N_("Warm-up"),
    "DATA": N_("Missing candles"),
    "PERIOD": N_("Length of the period"),
    "EXPOSURE": N_("Time in the market"),
    "ORDERS": N_("Orders that could not be filled"),
    "SAFEGUARDS": N_("Safeguards"),
    "TOO_GOOD": N_("Too good to be true"),
}
CODES: Final = tuple(TITLES)

#: By code and verdict, or by code and what is special about it.
SENTENCES: Final = {
    "LOOK_AHEAD_PASS": N_("Its decisions are the same when later candles are cut off."),
    "LOOK_AHEAD_FAIL": N_("It uses candles that had not closed yet: nobody can trade this result."),
    "LOOK_AHEAD_UNKNOWN": N_("This version was not validated yet, so it is not known whether it looks ahead."),
    "RUIN_FAIL": N_("It lost the whole account on the way."),
    "SAMPLE_FAIL": N_("It closed no trade, so there is nothing to judge."),
    "SAMPLE_WARN": N_("Closed trades: %(trades)s. With fewer than 30, chance alone explains any result."),
    "SAMPLE_PASS": N_("It closed %(trades)s trades; averages mean something."),
    "FEW_MAKE_IT_FAIL": N_("The best trade alone made all of the profit: without it there would be none."),
    "FEW_MAKE_IT_THREE": N_("The three best trades made all of the profit: without them there would be none."),
    "FEW_MAKE_IT_WARN": N_("The three best trades made %(share)s%% of the profit."),
    "FEW_MAKE_IT_PASS": N_("The profit does not hang on a few trades: the three best made %(share)s%% of it."),
    "OPEN_TRADE_WARN": N_("%(share)s%% of the profit is of a position that is still open: it is not won yet."),
    "OPEN_TRADE_PASS": N_("A position is still open; %(share)s%% of the profit is of it."),
    "LATER_PART_FAIL": N_("It lost in the last 30%% of the period: Sharpe %(after)s, after %(before)s in the first 70%%."),
    "LATER_PART_WARN": N_("It was much worse in the last 30%% of the period: Sharpe %(after)s, after %(before)s in the first 70%%."),
    "LATER_PART_PASS": N_("It kept up in the last 30%% of the period: Sharpe %(after)s, after %(before)s in the first 70%%."),
    "SLIPPAGE_FAIL": N_("At twice the slippage nothing would be left of the profit."),
    "SLIPPAGE_WARN": N_("At twice the slippage %(lost)s%% of the profit would be gone."),
    "SLIPPAGE_PASS": N_("Twice the slippage would take %(lost)s%% of the profit."),
    "VOLUME_WARN": N_("%(share)s%% of its orders took more than a tenth of their candle's volume: live they would move the price."),
    "VOLUME_PASS": N_("Its orders are small beside the volume of their candles."),
    "COSTS_FAIL": N_("Fees, slippage and funding ate all that the trades brought."),
    "COSTS_WARN": N_("Fees, slippage and funding ate %(share)s%% of what the trades brought."),
    "COSTS_PASS": N_("Fees, slippage and funding took %(share)s%% of what the trades brought."),
    "HOLDING_WARN": N_("Buying and holding would have brought %(held)s%%, the strategy %(own)s%%."),
    "HOLDING_PASS": N_("It brought %(own)s%%, buying and holding %(held)s%%."),
    "WARM_UP_WARN": N_("Candles before its first decision: %(had)s, where it wants %(wanted)s. Its first decisions may differ."),
    "WARM_UP_UNSTABLE": N_("Its indicators differ with a longer history: its warm-up is too short, and live decisions may differ."),
    "WARM_UP_PASS": N_("Its indicators are the same with a longer history."),
    "DATA_PASS": N_("No candle is missing."),
    "DATA_WARN": N_("Missing candles: %(missing)s, %(share)s%% of the period. Prices may have jumped meanwhile."),
    "DATA_FAIL": N_("Missing candles: %(missing)s, %(share)s%% of the period: too many to trust the result."),
    "PERIOD_WARN": N_("Length of the period in days: %(days)s. With fewer than 90, figures a year say little."),
    "PERIOD_PASS": N_("The period has %(days)s days."),
    "EXPOSURE_WARN": N_("It was in the market %(share)s%% of the time only: a few moments decide."),
    "EXPOSURE_FULL": N_("It was in the market %(share)s%% of the time, nearly as if one had held."),
    "EXPOSURE_PASS": N_("It was in the market %(share)s%% of the time."),
    "ORDERS_WARN": N_("Orders too small for the market, and denied: %(denied)s."),
    "ORDERS_CAPPED": N_("Orders that got less than they wanted, as the candle's volume had no more: %(capped)s."),
    "SAFEGUARDS_WARN": N_("A safeguard tripped on %(day)s and stayed so: nothing was entered in the last %(share)s%% of the period."),
    "SAFEGUARDS_PASS": N_("Safeguards tripped and were armed again: %(trips)s times."),
    "TOO_GOOD_WARN": N_("A Sharpe of %(sharpe)s is rare in honest results: look for a mistake first."),
}
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")


def told(check: Check) -> str:
    """Return a check's sentence in the language spoken here, its numbers in that language's notation."""
    return in_words(check.message, check.values)


def in_words(message: str, values: Mapping[str, str]) -> str:
    """Return a sentence whose values are numbers in English notation in the language spoken here."""
    return said_with(message, {name: _localised(value) for name, value in values.items()})


def title_of(check: Check) -> str:
    """Return a check's short name in the language spoken here."""
    return gettext(check.title)


def _localised(value: str) -> str:
    if not _NUMBER.fullmatch(value):
        return value
    shown = value.replace("-", "−")
    return shown if current_language() == SOURCE_LANGUAGE else shown.replace(".", ",")
