"""What the server wrote in English is shown in the reader's language, with its values."""

import time

import pytest

from app.core.i18n import LANGUAGES, use_language
from app.core.sentences import said
from app.errors import AppError, TooManyAttempts


@pytest.mark.parametrize(
    ("english", "french"),
    [
        ("the message is empty", "le message est vide"),
        ("the action must be a word like buy, sell or close, was hold", "l’action doit être un mot comme buy, sell ou close, reçu hold"),
        (
            "BTC/USDT: 4.5 USDT is below the exchange minimum of 5 USDT",
            "BTC/USDT : 4.5 USDT est sous le minimum de la plateforme, 5 USDT",
        ),
        (
            "trading on this account is paused: The API key no longer works, or this server's address is not allowed. "
            "Trading for this account is paused.",
            "le trading de ce compte est en pause : La clé d’API ne fonctionne plus, ou l’adresse de ce serveur n’est pas autorisée. "
            "Le trading de ce compte est en pause.",
        ),
        ("trading is halted and nothing was sent: my own words", "le trading est arrêté et rien n’a été envoyé: my own words"),
        ("Something a person wrote: 100 % of it", "Something a person wrote: 100 % of it"),
        (
            "orders from webhooks are switched off on this account; its trading mode is manual",
            "les ordres des webhooks sont désactivés sur ce compte ; son mode de trading est manual",
        ),
        ("", ""),
    ],
)
def test_a_sentence_is_said_in_french_with_its_values(english: str, french: str) -> None:
    with use_language("fr"):
        assert said(english) == french
    assert said(english) == english


def test_a_refusal_says_how_long_to_wait_and_not_too_short() -> None:
    error: AppError = TooManyAttempts(retry_after_s=58.2)
    assert error.message == "Too many attempts went wrong. Try again in 59 seconds."
    with use_language(LANGUAGES[1]):
        assert said(error.message) == "Trop de tentatives ont échoué. Réessayez dans 59 secondes."


def test_what_is_very_long_is_left_alone() -> None:
    with use_language("fr"):
        long = "the message is empty; " * 1000
        assert said(long) == long


@pytest.mark.parametrize("sentence", [": they said no", "Binance: ", "; ", "the exchange refused: "])
def test_of_an_empty_part_nothing_is_said(sentence: str) -> None:
    """The catalogue has its own header under the empty sentence."""
    with use_language("fr"):
        assert "Project-Id-Version" not in said(sentence)


@pytest.mark.parametrize(
    "hostile",
    [
        "a b at" + " x is y % z of w;" * 100,
        "x: with the market at" + " a the price of a b must be c, was" * 50,
        "x" + " until y. Orders" * 120,
        "x: with the market at " + "a " * 900,
        "x: " * 600,
    ],
)
def test_no_text_of_a_stranger_keeps_the_server_busy(hostile: str) -> None:
    """As a regular expression the first of these took 22 seconds with a fifth of its length."""
    with use_language("fr"):
        said("warm")
        started = time.perf_counter()
        assert said(hostile[:2000])
        assert time.perf_counter() - started < 0.5
