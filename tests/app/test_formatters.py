from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import formatters

NARROW = "\u202f"
HARD = "\u00a0"
NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
amounts = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**15), max_value=10**15)
steps = st.sampled_from([Decimal(text) for text in ("0.00000001", "0.001", "0.010", "1", "5", "0.5")])


def readable(text: str, language: str) -> Decimal:
    group, mark = (",", ".") if language == "en" else (NARROW, ",")
    return Decimal(text.replace(group, "").replace(mark, ".").replace("−", "-"))


def test_price_has_the_decimals_of_its_tick() -> None:
    assert formatters.price(Decimal("104602.3"), Decimal("0.01"), language="en") == "104,602.30"
    assert formatters.price(Decimal("104602.36"), Decimal("0.01"), language="fr") == f"104{NARROW}602,36"


def test_tiny_price_is_not_zero() -> None:
    assert formatters.price(Decimal("0.00001234"), Decimal("0.00000001"), language="en") == "0.00001234"
    assert formatters.price(Decimal("1.234E-5"), language="fr") == "0,00001234"


def test_unknown_value_is_a_dash() -> None:
    assert formatters.price(None, language="en") == formatters.pct(None, language="fr") == "—"


def test_minus_is_the_minus_sign_and_zero_has_none() -> None:
    assert formatters.money(Decimal("-38.615"), "USDT", language="fr") == f"−38,62{HARD}USDT"
    assert formatters.money(Decimal("-0.001"), language="en") == "0.00"


def test_signed_amount_shows_its_plus() -> None:
    assert formatters.signed(Decimal("126.4"), "USDT", language="en") == f"+126.40{HARD}USDT"
    assert formatters.signed(Decimal("-0.5"), language="en") == "−0.50"
    assert formatters.signed(Decimal("0.0001"), language="en") == "0.00"


def test_percentage_comes_from_a_fraction() -> None:
    assert formatters.pct(Decimal("0.0174"), language="en") == "+1.74%"
    assert formatters.pct(Decimal("-0.0174"), language="fr") == f"−1,74{HARD}%"


def test_crypto_keeps_all_its_digits() -> None:
    assert formatters.quantity(Decimal("0.0415"), language="en") == "0.0415"
    assert formatters.quantity(Decimal("1.000000000000000001"), language="en") == "1.00000000"


def test_quantity_is_cut_and_never_rounded_up() -> None:
    assert formatters.quantity(Decimal("0.0629999"), Decimal("0.0001"), language="en") == "0.0629"


@given(amounts, steps, st.sampled_from(["en", "fr"]))
def test_quantity_shown_is_never_more_than_held(held: Decimal, step: Decimal, language: str) -> None:
    assert abs(readable(formatters.quantity(held, step, language=language), language)) <= abs(held)


@given(amounts, steps, st.sampled_from(["en", "fr"]))
def test_price_shown_is_the_price_within_half_a_last_digit(value: Decimal, tick: Decimal, language: str) -> None:
    shown = readable(formatters.price(value, tick, language=language), language)
    assert abs(shown - value) * 2 <= Decimal(1).scaleb(-formatters.places(tick))


def test_time_is_shown_in_the_readers_zone_on_both_sides_of_a_clock_change() -> None:
    before = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    shown = [formatters.dt(before + timedelta(hours=hour), "time", zone="Europe/Paris", language="fr") for hour in range(2)]
    assert shown == ["02:30:00", "02:30:00"]
    assert formatters.dt(NOW, zone="UTC", language="en") == "21 Nov 2026 14:04:58"
    assert formatters.dt(NOW, "minute", zone="Europe/Paris", language="fr") == "21 nov. 15:04"


def test_unknown_zone_means_utc() -> None:
    assert formatters.dt(NOW, "time", zone="../../etc/passwd", language="en") == "14:04:58"


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        formatters.dt(NOW.replace(tzinfo=None), zone="UTC", language="en")


def test_elapsed_time_is_one_unit() -> None:
    assert formatters.ago(NOW - timedelta(minutes=3), now=NOW, language="en") == "3 min. ago"
    assert formatters.ago(NOW - timedelta(minutes=3), now=NOW, language="fr") == f"il y a 3{HARD}min"
    assert formatters.ago(NOW, now=NOW, language="en") == "1 sec. ago"


def test_short_durations() -> None:
    assert formatters.seconds(0.42, language="fr") == f"0,4{HARD}s"
    assert formatters.seconds(38.4, language="en") == f"38{HARD}s"
    assert formatters.seconds(7300, language="en") == f"2{HARD}h"


@pytest.mark.parametrize(
    ("fraction", "decimals", "language", "text"),
    [
        (Decimal("0.5"), 2, "en", "50%"),
        (Decimal("0.333333"), 2, "en", "33.33%"),
        (Decimal("0.666666"), 2, "en", "66.67%"),
        (Decimal("0.0088"), 1, "fr", f"0,9{HARD}%"),
        (Decimal("0.99999"), 2, "en", "99.99%"),
        (Decimal("1.00008"), 2, "en", "100.01%"),
        (Decimal("0.49995"), 4, "fr", f"49,995{HARD}%"),
        (Decimal(1), 2, "fr", f"100{HARD}%"),
        (None, 2, "en", "—"),
    ],
)
def test_share_has_no_sign_and_is_all_only_where_nothing_is_missing(
    fraction: Decimal | None, decimals: int, language: str, text: str
) -> None:
    assert formatters.share(fraction, decimals=decimals, language=language) == text


@pytest.mark.parametrize(
    ("value", "english", "french"),
    [("2840000000", "2.84B", "2,84\u00a0Md"), ("999.5", "999.50", "999,50"), ("-1234567", "\u22121.23M", "\u22121,23\u00a0M")],
)
def test_a_large_number_is_written_with_its_unit(value: str, english: str, french: str) -> None:
    assert formatters.compact(Decimal(value), language="en") == english
    assert formatters.compact(Decimal(value), language="fr") == french


@pytest.mark.parametrize(
    ("value", "english", "french"),
    [
        ("0", "0", "0"), ("0.4", "+0.4", "+0,4"), ("-0.00034", "−0.0003", "−0,0003"), ("9.96", "+10.0", "+10,0"), ("-34.5", "−34", "−34"),
        ("999.4", "+999", "+999"), ("1234", "+1.2K", "+1,2k"), ("-45678", "−46K", "−46k"), ("7654321", "+7.7M", "+7,7M"),
        ("0.000000001", "0.00000000", "0,00000000"),
    ],
)  # fmt: skip
def test_short_amounts_have_a_sign_and_few_characters(value: str, english: str, french: str) -> None:
    assert formatters.short(Decimal(value), language="en") == english
    assert formatters.short(Decimal(value), language="fr") == french
    assert formatters.short(None, language="en") == formatters.NONE
