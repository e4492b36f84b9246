"""The door under load and under limits: batches, two processes, the rate, the list of senders, secrets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
import structlog

from app.core.config import Settings
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.errors import BadToken, InvalidInput
from app.webhooks.group import NotKept
from app.webhooks.models import Decision
from app.webhooks.senders import TRADINGVIEW, UNREADABLE, Senders, are_within, read_senders
from app.webhooks.service import change_webhook, create_webhook
from tests.app.conftest import Outage
from tests.app.entrance import BODY, NOW, TIMED, Entrance, make_entrance
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


@pytest_asyncio.fixture
async def entrance(database: Database) -> Entrance:
    return await make_entrance(database, per_minute=6000)


@pytest_asyncio.fixture
async def other_database(emptied_urls: DatabaseUrls) -> AsyncIterator[Database]:
    """Another process's connections."""
    database = Database(emptied_urls.app)
    await database.open()
    yield database
    await database.close()


def named(number: int) -> bytes:
    return b'{"action":"ping","client_intent_id":"%d"}' % number


async def test_alerts_that_arrive_together_are_kept_by_two_commits(entrance: Entrance) -> None:
    received = await asyncio.gather(*(entrance.receive(named(number)) for number in range(20)))
    assert {one.decision for one in received} == {Decision.PENDING}
    rows = await entrance.rows("SELECT id, raw, xmin::text AS written_by FROM webhook_deliveries ORDER BY id")
    assert [row["id"] for row in rows] == sorted(one.delivery_id for one in received)
    assert sorted(Counter(row["written_by"] for row in rows).values()) == [1, 19]
    by_id = {row["id"]: row["raw"] for row in rows}
    assert [by_id[one.delivery_id] for one in received] == [named(number).decode() for number in range(20)]


async def test_each_of_a_batch_is_told_what_became_of_its_own(entrance: Entrance) -> None:
    async with entrance.database.transaction() as session:
        other = await create_webhook(session, entrance.user_id, name="Other", broker_id=None, now=NOW)
        await change_webhook(session, entrance.user_id, other.webhook.id, now=NOW, is_active=False)
    answers = await asyncio.gather(
        entrance.receive(named(0)),
        entrance.receive(named(1)),
        entrance.receive(named(1), secret=other.secret),
        entrance.receive(named(1), secret="nobody-has-this-one"),
        entrance.receive(named(1)),
        entrance.receive(b"\x00\xff"),
        return_exceptions=True,
    )
    told = [type(one) if isinstance(one, BaseException) else one.decision for one in answers]
    assert told == [Decision.PENDING, Decision.PENDING, Decision.PAUSED, BadToken, Decision.DUPLICATE, Decision.PENDING]


async def test_window_of_nothing_takes_nothing_for_a_repeat_but_what_names_itself(entrance: Entrance) -> None:
    open_door = entrance.beside(window=timedelta(0))
    answers = await asyncio.gather(*(open_door.receive(body) for body in (named(0), BODY, BODY, TIMED, TIMED, BODY)))
    assert [one.decision.value for one in answers] == ["pending", "pending", "pending", "pending", "duplicate", "pending"]


async def test_odd_request_spoils_nobody_elses_batch(entrance: Entrance) -> None:
    async def knock(number: int) -> Decision | None:
        try:
            # A server that let such a header in would have the database refuse the whole statement.
            return (await entrance.receive(named(number), content_type="\x00" if number == 3 else "text/plain")).decision
        except NotKept:
            return None

    answers = await asyncio.gather(*(knock(number) for number in range(6)))
    assert answers == [Decision.PENDING] * 3 + [None] + [Decision.PENDING] * 2
    assert len(await entrance.rows()) == 5


@row(26, 27)
async def test_two_processes_with_the_same_alerts_at_once_leave_one_of_each_to_trade(entrance: Entrance, other_database: Database) -> None:
    second = entrance.beside(other_database)
    for start in range(0, 300, 30):
        bodies = [named(number) for number in range(start, start + 30)]
        # The opposite order: locks taken as they came would be taken crosswise.
        received = await asyncio.gather(
            *(door.receive(body) for door, order in ((entrance, bodies), (second, bodies[::-1])) for body in order)
        )
        assert Counter(one.decision for one in received) == {Decision.PENDING: 30, Decision.DUPLICATE: 30}
    rows = await entrance.rows("SELECT count(*) FROM webhook_deliveries WHERE decision = 'pending' GROUP BY raw")
    assert {row["count"] for row in rows} == {1}


@row(32)
async def test_batch_that_is_cut_off_is_answered_503_and_recognised_when_it_comes_again(entrance: Entrance, outage: Outage) -> None:
    async def knock(number: int) -> str:
        try:
            return (await entrance.receive(named(number))).decision.value
        except NotKept:
            return "503"

    async with outage.locked("webhook_deliveries"), asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(knock(number)) for number in range(4)]
        await outage.end_the_one_that_waits("Lock")  # the first one's
        await outage.end_the_one_that_waits("Lock")  # the others'
    assert [task.result() for task in told] == ["503"] * 4
    assert await entrance.rows() == []
    assert [await knock(number) for number in range(4)] == ["pending"] * 4
    assert [await knock(number) for number in range(4)] == ["duplicate"] * 4


async def test_what_is_above_the_rate_is_logged_and_not_traded_and_may_come_again(database: Database) -> None:
    entrance = await make_entrance(database)  # 120 a minute, 30 of them at once
    answers = [(await entrance.receive(named(number))).decision for number in range(32)]
    assert answers == [Decision.PENDING] * 30 + [Decision.DENIED] * 2
    denied = await entrance.rows("SELECT * FROM webhook_deliveries WHERE code = 'HOOK_RATE'")
    assert {(row["decision"], row["raw"]) for row in denied} == {("denied", named(30).decode()), ("denied", named(31).decode())}
    assert denied[0]["reason"] == "more alerts came than the 120 a minute, 30 of them at once, that this webhook trades"
    entrance.clock.advance(timedelta(seconds=1))
    again = [await entrance.receive(named(number)) for number in (31, 30, 32)]
    assert [one.decision.value for one in again] == ["pending", "pending", "denied"], "two tokens a second, and no repeat of anything"
    assert again[2].delivery is None


async def test_rate_holds_within_a_batch_and_repeats_take_nothing_of_it(database: Database) -> None:
    entrance = await make_entrance(database, per_minute=4)  # ten at once at least
    for _ in range(3):
        told = Counter(one.decision for one in await asyncio.gather(*(entrance.receive(named(number % 8)) for number in range(40))))
        assert Decision.DENIED not in told
    told = Counter(one.decision for one in await asyncio.gather(*(entrance.receive(named(number)) for number in range(8, 20))))
    assert told == {Decision.PENDING: 2, Decision.DENIED: 10}
    async with database.transaction() as session:
        await change_webhook(session, entrance.user_id, entrance.webhook_id, now=NOW, per_minute=6000)
    entrance.clock.advance(timedelta(seconds=1))
    assert (await entrance.receive(named(20))).decision is Decision.PENDING, "a new rate counts from the next alert on"


@pytest.mark.parametrize(
    ("server", "address", "known"),
    [
        ({}, "52.89.214.238", "52.89.214.238"),
        ({}, "::ffff:52.89.214.238", "52.89.214.238"),
        ({}, "fe80::1%eth0", "fe80::1"),
        ({}, "127.0.0.1", "127.0.0.1"),
        ({}, "52.89.214.238:443", "52.89.214.238"),
        ({}, " 52.89.214.238 ", "52.89.214.238"),
        ({}, "[2001:db8::1]", "2001:db8::1"),
        ({}, "[2001:DB8:0::1]:65535", "2001:db8::1"),
        ({}, "[::ffff:52.89.214.238]:443", "52.89.214.238"),
        ({}, "not an address", UNREADABLE),
        ({}, "unknown", UNREADABLE),
        ({}, "", UNREADABLE),
        ({}, "52.89.214.238:https", UNREADABLE),
        ({}, "52.89.214.238:443:1", UNREADABLE),
        ({}, "52.89.214.238, 52.89.214.238", UNREADABLE),
        ({}, "[52.89.214.238", UNREADABLE),
        ({}, "9" * 1000, UNREADABLE),
        ({}, None, UNREADABLE),
        ({"trusted_proxies": "10.0.0.2", "public_url": "https://bot.example.org"}, "_hidden", UNREADABLE),
        ({"trusted_proxies": "10.0.0.2", "public_url": "https://bot.example.org"}, "52.89.214.238", "52.89.214.238"),
        ({"trusted_proxies": "10.0.0.2", "public_url": "https://bot.example.org"}, "10.0.0.2", "10.0.0.2"),
        ({"public_url": "https://bot.example.org"}, "52.89.214.238", None),
        ({"public_url": "https://bot.example.org", "host": "0.0.0.0"}, "52.89.214.238", None),
        ({"public_url": "http://bot.example.org"}, "127.0.0.1", None),
        ({"public_url": "http://bot.example.org", "host": "0.0.0.0"}, "52.89.214.238", "52.89.214.238"),
        ({"public_url": "http://bot.example.org", "host": "0.0.0.0"}, "172.17.0.1", None),
        ({"public_url": "http://192.168.1.5:8000", "host": "0.0.0.0"}, "192.168.1.9", "192.168.1.9"),
        ({"public_url": "http://nas.local", "host": "0.0.0.0"}, "192.168.1.9", "192.168.1.9"),
    ],
)
async def test_sender_is_known_where_nothing_unnamed_stands_between(server: dict[str, str], address: str | None, known: str | None) -> None:
    assert Senders(settings(**server)).known(address) == known


async def test_owner_of_a_list_behind_an_unnamed_proxy_is_told_that_it_counts_for_nothing() -> None:
    hidden = Senders(settings(public_url="https://bot.example.org"))
    assert "TRUSTED_PROXIES" in str(hidden.warning(["52.89.214.238"]))
    assert hidden.warning(None) is None
    assert Senders(settings(public_url="https://bot.example.org", trusted_proxies="127.0.0.1")).warning(["52.89.214.238"]) is None


async def test_who_is_not_on_the_list_is_logged_told_nothing_and_not_traded(database: Database) -> None:
    entrance = await make_entrance(database, allowed_ips=["tradingview", "2001:db8::/32", "198.51.100.0/24"])
    door = entrance.beside(senders=Senders(settings()))
    refused = await door.receive(named(0) + b" " * 5000, ip_address="203.0.113.9")
    assert (refused.decision, refused.is_foreign, refused.delivery) == (Decision.DENIED, True, None)
    (row,) = await entrance.rows()
    assert (row["code"], row["size"], len(row["raw"])) == ("HOOK_SENDER", 5000 + len(named(0)), 2048)
    assert "203.0.113.9" in row["reason"]
    for number, address in enumerate((*TRADINGVIEW, "::ffff:52.89.214.238", "2001:db8:1::5", "198.51.100.77")):
        assert (await door.receive(named(number), ip_address=address)).decision is Decision.PENDING, "what a stranger sent is no repeat"
    unknown = entrance.beside(senders=Senders(settings(public_url="https://bot.example.org")))
    assert (await unknown.receive(named(99), ip_address="127.0.0.1")).decision is Decision.PENDING


async def test_sender_whose_address_cannot_be_read_is_on_no_list_and_the_operator_is_told_once(database: Database) -> None:
    listed = await make_entrance(database, allowed_ips=["tradingview"])
    door = listed.beside(senders=Senders(settings()))
    with structlog.testing.capture_logs() as logs:
        alone = await door.receive(named(0) + b" " * 5000, ip_address="unknown")
        many = await asyncio.gather(*(door.receive(named(number), ip_address="52.89.214.238:x") for number in range(1, 9)))
    assert {(one.decision, one.is_foreign, one.delivery) for one in (alone, *many)} == {(Decision.DENIED, True, None)}
    rows = sorted(await listed.rows(), key=lambda row: -len(row["raw"]))
    assert {row["code"] for row in rows} == {"HOOK_SENDER_UNREADABLE"}
    assert {row["reason"] for row in rows} == {
        "the address it came from could not be read, so nobody knows whether it may send to this webhook; whoever runs this server finds in"
        " its log what the proxy gave"
    }
    assert len(rows[0]["raw"]) == 2048, "of what a stranger sends only the beginning is kept"
    assert [line["ip_address"] for line in logs if line["event"] == "sender_unreadable"] == ["unknown"]
    wrapped = [await door.receive(named(number), ip_address="52.89.214.238:443") for number in range(9)]
    assert {one.decision for one in wrapped} == {Decision.PENDING}


async def test_webhook_without_a_list_takes_alerts_from_addresses_that_cannot_be_read(database: Database) -> None:
    door = (await make_entrance(database)).beside(senders=Senders(settings()))
    assert (await door.receive(named(0), ip_address="unknown")).decision is Decision.PENDING
    many = await asyncio.gather(*(door.receive(named(number), ip_address="unknown") for number in range(1, 5)))
    assert {one.decision for one in many} == {Decision.PENDING}


async def test_list_of_senders_is_written_one_way_and_said_wrong_in_words() -> None:
    given = [" TradingView ", "10.0.0.7/8", "::ffff:192.0.2.1", "2001:DB8::1", "52.32.178.7", ""]
    assert read_senders(given) == [*TRADINGVIEW, "10.0.0.0/8", "192.0.2.1", "2001:db8::1"]
    for wrong, words in (([], "at least one"), (["10.0.0.0/33"], "10.0.0.0/33 is no address"), (["bot.example.org"], "is no address")):
        with pytest.raises(InvalidInput, match=words) as caught:
            read_senders(wrong)
        assert caught.value.field == "allowed_ips"
    with pytest.raises(InvalidInput, match="at most 50"):
        read_senders([f"10.0.0.{number}" for number in range(51)])
    assert are_within(["10.0.0.7", "2001:db8::1"], ["10.0.0.0/8", "2001:db8::/32"])
    assert not are_within(["10.0.0.0/8"], ["10.0.0.7"])


async def test_secrets_of_a_message_are_not_stored_and_what_is_stored_is_what_is_acted_on(entrance: Entrance) -> None:
    body = b'{"action":"ping","passphrase":"my \\"dear\\" secret","api_key":12345,"nested":{"token":"abc"},"key":"k"}'
    received = await entrance.receive(body)
    (row,) = await entrance.rows()
    for secret in ("dear", "12345", "abc", '"k"'):
        assert secret not in row["raw"]
    assert row["raw"] == '{"action":"ping","passphrase":"***","api_key":"***","nested":{"token":"***"},"key":"***"}'
    assert received.delivery is not None
    assert received.delivery.raw == row["raw"].encode()
    assert row["size"] == len(body)
    other = await entrance.receive(body.replace(b"dear", b"near"))
    assert other.decision is Decision.PENDING, "what tells two messages apart is what was sent"
