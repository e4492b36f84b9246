"""What one connection asks for, against a venue that keeps the documented rules."""

import random
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from app.exchanges.binance_messages import Acknowledged
from app.exchanges.stream_subscriptions import Subscriptions

CANARY = "btcusdt@bookTicker"
NAMES = [f"s{number}@kline_1m" for number in range(12)]
BAD = {"s3@kline_1m", "s7@kline_1m"}


class Venue:
    """Takes requests, answers them in order, later; a request with a bad name is refused as a whole."""

    def __init__(self, subscriptions: Subscriptions, *, is_bare: bool) -> None:
        self.subscriptions = subscriptions
        first = subscriptions.in_address(is_bare=is_bare)
        self.sends = set(first) - BAD
        self.answers: list[Acknowledged] = []
        self.requests = 0
        subscriptions.opened(first)

    def request(self) -> bool:
        text = self.subscriptions.next_request(0.0)
        if text is None:
            return False
        assert len(text) <= 4_088, "Binance does not answer a longer one"
        self.requests += 1
        request: dict[str, Any] = orjson.loads(text)
        names = set(request["params"])
        assert names, "an empty request is refused"
        if request["method"] == "SUBSCRIBE" and names & BAD:
            self.answers.append(Acknowledged(request_id=request["id"], error="no such stream"))
            return True
        self.sends = self.sends | names if request["method"] == "SUBSCRIBE" else self.sends - names
        self.answers.append(Acknowledged(request_id=request["id"], error=None))
        return True

    def answer(self) -> bool:
        if not self.answers:
            return False
        confirmed = self.subscriptions.answered(self.answers.pop(0))
        assert confirmed <= self.subscriptions.wanted.keys()
        return True


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60))
def test_however_wishes_requests_and_answers_interleave_the_venue_ends_up_sending_what_is_wanted(seed: int, steps: int) -> None:
    chance = random.Random(seed)
    subscriptions = Subscriptions([name for name in chance.sample(NAMES, 4) if name not in BAD], canary=CANARY)
    venue = Venue(subscriptions, is_bare=seed % 2 == 0)
    for _ in range(steps):
        some = chance.sample([*NAMES, CANARY], chance.randrange(1, 5))
        match chance.randrange(4):
            case 0:
                subscriptions.add(some)
            case 1:
                subscriptions.remove(some)
            case 2:
                venue.request()
            case 3:
                venue.answer()
    while venue.request() or venue.answer():
        pass

    good = subscriptions.wanted.keys() - BAD
    assert venue.sends == good | {CANARY}
    assert subscriptions.confirmed == good | {CANARY}
    assert subscriptions.refused == subscriptions.wanted.keys() & BAD
    assert subscriptions.is_settled
    assert subscriptions.unanswered_since() is None


def test_a_thousand_streams_take_few_requests() -> None:
    subscriptions = Subscriptions([f"longname{number}usdt@kline_1m" for number in range(1000)], canary=CANARY)
    venue = Venue(subscriptions, is_bare=False)
    assert sum(map(len, venue.sends)) <= 3_600
    while venue.request():
        venue.answer()
    assert venue.requests <= 8
    assert len(venue.sends) == 1001


def test_the_age_of_an_unanswered_request_is_told() -> None:
    subscriptions = Subscriptions([], canary=CANARY)
    assert subscriptions.unanswered_since() is None
    subscriptions.add(["a@kline_1m"])
    assert subscriptions.next_request(7.0) is not None
    assert subscriptions.unanswered_since() == 7.0
