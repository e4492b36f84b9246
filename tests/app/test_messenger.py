"""Sending one message: what may be named, what is reached, what is said of the answer, and what never is."""

import ast
import asyncio
import contextlib
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import pytest_asyncio
import requests

from app.core.addresses import Address
from app.core.ids import new_id
from app.core.outgoing import Outgoing
from app.core.waiting import happens_within
from app.errors import AppError, TargetRefused
from app.notifications import messenger as loading
from app.notifications.doors import Door, GuardedRequests
from app.notifications.forms import address_of
from app.notifications.kinds import Severity
from app.notifications.messenger import Message, Messenger, Outcome
from app.notifications.plugins import modules_of
from app.notifications.services import ALLOWED
from tests.app.receivers import HttpReceiver, http_receiver, mail_receiver

pytestmark = pytest.mark.asyncio
ADA = new_id()
TOKEN = "tok3n-that-nobody-may-see"
BOT = "123456789:AAEabcdefghijklmnopqrstuvwxyz_-12345"
FROM_TO = {"from": "ada@example.org", "to": "b@example.org"}
TEXT = Message(title="Order lost", body="BTC/USDT is lost.", severity=Severity.ERROR, key="delivery-1")
#: What code that sends a message may be made of: reckoning, text, and the two modules for which ours stand in.
HARMLESS = {
    "__future__", "base64", "binascii", "calendar", "collections", "contextlib", "copy", "cryptography", "datetime", "email", "enum",
    "gzip", "hashlib", "hmac", "html", "io", "os", "os.path", "os.SEEK_END", "os.SEEK_SET", "os.linesep", "itertools", "json",
    "logging", "math", "operator", "random", "re", "requests", "secrets", "smtplib", "ssl", "string", "textwrap", "time", "typing",
    "types", "unicodedata", "urllib", "uuid", "xml", "zoneinfo",
}  # fmt: skip


def _allowing(*places: tuple[str, int]) -> Outgoing:
    return Outgoing(allowed=frozenset(places))


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as opened:
        yield opened


@pytest.fixture
def sending(receiver: HttpReceiver) -> Iterator[Messenger]:
    made = Messenger(_allowing(("127.0.0.1", receiver.port)))
    yield made
    made.close()


async def _send(messenger: Messenger, url: str, message: Message = TEXT) -> Outcome:
    return await messenger.send(url, message, user_id=ADA)


async def test_a_message_arrives_with_its_words_and_a_key_by_which_a_repeat_is_known(sending: Messenger, receiver: HttpReceiver) -> None:
    outcome = await _send(sending, f"json://127.0.0.1:{receiver.port}/{TOKEN}")
    assert outcome == Outcome(is_sent=True, words="It answers 200 OK.")
    (heard,) = receiver.heard
    assert (heard.method, heard.path, heard.headers["idempotency-key"]) == ("POST", f"/{TOKEN}", "delivery-1")
    assert (heard.json["title"], heard.json["message"], heard.json["type"]) == ("Order lost", "BTC/USDT is lost.", "failure")


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (401, {}, (True, False, None)),
        (404, {}, (True, False, None)),
        (429, {"Retry-After": "42"}, (False, True, 42.0)),
        (429, {}, (False, True, None)),
        (429, {"Retry-After": "nan"}, (False, True, None)),
        (500, {}, (False, False, None)),
        (503, {"Retry-After": "1"}, (False, False, 5.0)),
    ],
)
async def test_what_a_service_answers_says_whether_to_try_again(
    sending: Messenger, receiver: HttpReceiver, status: int, headers: dict[str, str], expected: object
) -> None:
    receiver.answers = [(status, headers, b'{"description": "because"}')]
    outcome = await _send(sending, f"json://127.0.0.1:{receiver.port}/x")
    assert not outcome.is_sent
    assert (outcome.is_final, outcome.is_limited, outcome.rest_s) == expected
    assert str(status) in outcome.words
    assert "because" in outcome.words


async def test_nothing_of_an_address_is_repeated_or_logged(
    sending: Messenger, receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer(400, f'{{"message": "no such hook: {TOKEN}"}}'.encode())
    with caplog.at_level(logging.DEBUG):
        outcome = await _send(sending, f"json://ada:{TOKEN}@127.0.0.1:{receiver.port}/{TOKEN}?-key={TOKEN}")
    assert outcome.words == "It answers 400 Bad Request: no such hook: ***"
    assert TOKEN not in caplog.text


async def test_a_receiver_that_never_answers_is_given_up_and_frees_its_thread(receiver: HttpReceiver) -> None:
    receiver.answers = [None]
    messenger = Messenger(_allowing(("127.0.0.1", receiver.port)), total_s=0.5)
    sent = (messenger.send(f"json://127.0.0.1:{receiver.port}/{n}", TEXT, user_id=new_id()) for n in range(8))
    assert {outcome.words for outcome in await asyncio.gather(*sent)} == {"It did not answer in time."}
    receiver.answer(200)
    assert (await _send(messenger, f"json://127.0.0.1:{receiver.port}/")).is_sent
    messenger.close()


async def test_one_that_answers_a_byte_at_a_time_is_given_up_too() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            writer.write(b"H")
            await happens_within(gone, 0.05)
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    messenger = Messenger(_allowing(("127.0.0.1", port)), total_s=0.5)
    async with asyncio.timeout(5):
        assert not (await _send(messenger, f"json://127.0.0.1:{port}/")).is_sent
    messenger.close()
    server.close()


async def test_closing_ends_what_is_under_way(receiver: HttpReceiver) -> None:
    receiver.answers = [None]
    messenger = Messenger(_allowing(("127.0.0.1", receiver.port)))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        sent = group.create_task(_send(messenger, f"json://127.0.0.1:{receiver.port}/"))
        await receiver.came.wait()
        messenger.close()
    assert not sent.result().is_sent


async def test_a_redirect_is_not_followed(sending: Messenger, receiver: HttpReceiver) -> None:
    async with http_receiver() as secret:
        receiver.answer(302, Location=f"http://127.0.0.1:{secret.port}/admin")
        outcome = await _send(sending, f"json://127.0.0.1:{receiver.port}/")
        assert not outcome.is_sent
        assert outcome.is_final
        assert "sends us elsewhere" in outcome.words
        assert not secret.heard


@pytest.mark.parametrize(
    "url",
    ["json://127.0.0.1:{port}/", "json://localhost:{port}/", "json://[::1]:{port}/", "ntfy://127.0.0.1:{port}/topic", "json://2130706433:{port}/",
     "xml://127.1:{port}/", "gotify://0.0.0.0:{port}/token", "json://169.254.169.254/", "mailto://127.0.0.1:{port}?to=a@b.example&from=a@b.example"],
)  # fmt: skip
async def test_this_servers_own_network_is_not_reached(receiver: HttpReceiver, url: str) -> None:
    messenger = Messenger(Outgoing())
    outcome = await _send(messenger, url.format(port=receiver.port))
    assert not outcome.is_sent
    assert receiver.connections == 0
    messenger.close()


async def test_a_name_that_changes_between_look_up_and_call_leads_nowhere_new(receiver: HttpReceiver) -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[Address]:
        asked.append(host)
        return [ip_address("93.184.216.34" if len(asked) == 1 else "127.0.0.1")]

    called: list[Any] = []

    def connect(address: Any, **_: Any) -> Any:
        called.append(address)
        raise OSError

    messenger = Messenger(Outgoing(resolve=resolve))
    with mock.patch("app.notifications.doors.socket.create_connection", connect):
        await _send(messenger, f"json://rebinding.example:{receiver.port}/")
    assert asked == ["rebinding.example"]
    assert called == [("93.184.216.34", receiver.port)]
    # And one that is asked again is judged again.
    assert not (await _send(messenger, f"json://rebinding.example:{receiver.port}/")).is_sent
    assert receiver.connections == 0
    messenger.close()


@pytest.mark.parametrize(
    "url",
    ["dbus://", "syslog://", "rsyslog://127.0.0.1", "windows://", "macosx://", "gnome://", "blink1://", "mqtt://127.0.0.1/topic", "irc://irc.example/#a",
     "fcm://project@key/device?keyfile=/etc/passwd", "vapid://a@b.example/c?keyfile=/etc/passwd",
     "file:///etc/passwd", "python://x", "nothing", "", "://",
     "json://h.example?verify=no", "discord://1234567890/token_of_it?template=/etc/passwd", "discord://1234567890/token_of_it?%74emplate=/etc/passwd",
     "tgram://123456789:abcdefghijklmnopqrstuvwxyz123456789/1?Template=http://127.0.0.1/", "mailto://u:p@h.example?wkd=yes&to=a@b.example",
     "mailto://u:p@h.example?pgppub=/etc/passwd&to=a@b.example", "json://h.example?retry=9", "json://h.example?redirect=yes", "json://h.example/\nx",
     "https://hooks.example.org/of-nobody"],
)  # fmt: skip
async def test_what_reaches_this_machine_or_does_more_than_send_is_refused(url: str) -> None:
    messenger = Messenger(Outgoing())
    with pytest.raises(TargetRefused):
        await messenger.read(url)
    messenger.close()


async def test_the_code_of_each_kind_offered_has_no_other_way_out(sending: Messenger) -> None:
    await sending.read("json://h.example")
    for service in sorted(ALLOWED):
        for module in modules_of(service):
            if module.__name__ == "apprise.plugins.base":
                continue
            assert _reaches(module) <= HARMLESS, (service, module.__name__)
            for name in ("requests", "smtplib"):
                assert not inspect.ismodule(getattr(module, name, None)), (service, module.__name__)


def _reaches(module: Any) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("exec", "eval", "__import__"):
            found.add(node.func.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            found.add(f"os.{node.attr}")
    return found


async def test_without_an_open_door_there_is_no_network() -> None:
    with pytest.raises(RuntimeError, match="door"):
        GuardedRequests().get("http://127.0.0.1:1/")
    assert not isinstance(sys.modules["requests"], GuardedRequests)


async def test_a_door_takes_no_more_calls_than_a_message_needs(receiver: HttpReceiver) -> None:
    def lookup(host: str, port: int, left_s: float) -> list[Address]:
        del host, port, left_s
        return [ip_address("127.0.0.1")]

    def many() -> int:
        door = Door(lookup, total_s=5.0)
        done = 0
        with door.open():
            while done < 100 and _is_answered(f"http://127.0.0.1:{receiver.port}/"):
                done += 1
        return done

    assert await asyncio.to_thread(many) == 12


def _is_answered(url: str) -> bool:
    try:
        return bool(GuardedRequests().get(url).ok)
    except requests.ConnectionError:
        return False


async def test_where_nothing_listens_that_is_said() -> None:
    messenger = Messenger(_allowing(("127.0.0.1", 1)))
    assert (await _send(messenger, "json://127.0.0.1:1/")).words == "Nothing answers at that address. Is the program running there?"
    messenger.close()


async def test_a_huge_answer_is_not_read_to_its_end(sending: Messenger, receiver: HttpReceiver) -> None:
    receiver.answer(200, b"x" * 5_000_000)
    assert (await _send(sending, f"json://127.0.0.1:{receiver.port}/")).is_sent


async def test_a_mail_server_whose_reply_does_not_end_is_not_heard_out() -> None:
    said = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        del reader
        with contextlib.suppress(OSError):
            while said < 50_000_000:
                writer.write(b"220-" + b"x" * 4000 + b"\r\n")
                said += 4006
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        messenger = Messenger(_allowing(("127.0.0.1", port)))
        outcome = await _send(messenger, f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&from=a@example.org&to=b@example.org&mode=insecure")
        messenger.close()
    assert not outcome.is_sent
    assert said < 20_000_000


async def test_a_mail_arrives_and_tells_nothing_of_this_machine() -> None:
    async with mail_receiver() as mails:
        messenger = Messenger(_allowing(("127.0.0.1", mails.port)))
        given = {
            "host": "127.0.0.1",
            "port": str(mails.port),
            "mode": "insecure",
            "from": "bot@example.org",
            "to": "ada@example.org, b@example.org",
        }
        outcome = await _send(messenger, address_of("email", given))
        assert outcome.is_sent, outcome
        assert sorted(one for _, to, _ in mails.mails for one in to) == ["ada@example.org", "b@example.org"]
        assert mails.mails[0][0] == "bot@example.org"
        assert mails.mails[0][2]["Subject"] == "Order lost"
        assert mails.greeted_as == "[127.0.0.1]"
        mails.refusal = "550 no such box"
        refused = await _send(messenger, address_of("email", given))
        assert (refused.is_sent, refused.is_final, refused.words) == (False, True, "It answers 550: no such box")
        messenger.close()


@pytest.mark.parametrize(
    ("service", "given", "scheme", "checks"),
    [
        ("telegram", {"token": BOT, "chat": "-100123"}, "tgram", {"bot_token": BOT}),
        ("discord", {"webhook": "https://discord.com/api/webhooks/123456789012/Abc-def_ghi"}, "discord",
         {"webhook_id": "123456789012", "webhook_token": "Abc-def_ghi"}),
        ("ntfy", {"topic": "my-topic", "server": "https://ntfy.example.org:8443", "token": "tk_abc"}, "ntfys",
         {"host": "ntfy.example.org", "port": 8443, "topics": ["my-topic"], "token": "tk_abc"}),
        ("ntfy", {"topic": "t"}, "ntfys", {"host": "ntfy.sh", "topics": ["t"]}),
        ("webhook", {"url": "https://u:p@h.example.org:9/a/b?x=1&y=a%20b"}, "jsons",
         {"host": "h.example.org", "port": 9, "fullpath": "/a/b", "user": "u", "password": "p", "params": {"x": "1", "y": "a b"}}),
        ("webhook", {"url": "http://h.example.org"}, "json", {"host": "h.example.org", "secure": False}),
        ("email", {"host": "smtp.example.org", "user": "ada@example.org", "password": "p/w:@&?#% x", **FROM_TO}, "mailtos",
         {"smtp_host": "smtp.example.org", "port": 587, "user": "ada@example.org", "password": "p/w:@&?#% x", "secure_mode": "starttls"}),
        ("other", {"url": "gotifys://h.example.org/Abcdefghijklmno"}, "gotifys", {"host": "h.example.org"}),
    ],
)  # fmt: skip
async def test_a_form_makes_the_address_that_apprise_understands(
    sending: Messenger, service: str, given: dict[str, str], scheme: str, checks: dict[str, Any]
) -> None:
    place = await sending.read(address_of(service, given))
    assert place.service == scheme
    assert {name: getattr(place.plugin, name) for name in checks} == checks


@pytest.mark.parametrize(
    ("service", "given", "field"),
    [
        ("telegram", {"chat": "1"}, "token"),
        ("telegram", {"token": "123:short", "chat": "1"}, "token"),
        ("discord", {"webhook": "https://evil.example/api/webhooks/1/2"}, "webhook"),
        ("discord", {"webhook": "https://discord.com/channels/1/2"}, "webhook"),
        ("email", {"host": "smtp.example.org/x", "from": "a@b.example", "to": "a@b.example"}, "host"),
        ("email", {"host": "smtp.example.org", "port": "99999", "from": "a@b.example", "to": "a@b.example"}, "port"),
        ("email", {"host": "smtp.example.org", "from": "nobody", "to": "a@b.example"}, "from"),
        ("email", {"host": "smtp.example.org", "from": "a@b.example", "to": "a@b.example,<x>"}, "to"),
        ("email", {"host": "smtp.example.org", "from": "a@b.example", "to": "a@b.example", "mode": "none&wkd=yes"}, "mode"),
        ("ntfy", {"topic": "a/b"}, "topic"),
        ("ntfy", {"topic": "a", "server": "ftp://h.example"}, "server"),
        ("webhook", {"url": "javascript:alert(1)"}, "url"),
        ("webhook", {"url": "https://h.example:99999/"}, "url"),
        ("other", {"url": ""}, "url"),
        ("pigeon", {}, "service"),
    ],
)
async def test_a_form_says_which_field_is_wrong(service: str, given: dict[str, str], field: str) -> None:
    with pytest.raises(AppError) as caught:
        address_of(service, given)
    assert caught.value.field == field


async def test_the_options_of_a_webhook_are_not_apprises(sending: Messenger, receiver: HttpReceiver) -> None:
    url = address_of("webhook", {"url": f"http://127.0.0.1:{receiver.port}/p?verify=no&template=/etc/passwd"})
    assert (await _send(sending, url)).is_sent
    assert receiver.heard[0].path == "/p?verify=no&template=%2Fetc%2Fpasswd"


async def test_apprise_is_silenced_where_it_would_tell_addresses(sending: Messenger) -> None:
    await sending.read("json://h.example")
    assert not logging.getLogger("apprise").isEnabledFor(logging.ERROR)
    assert not logging.getLogger("urllib3.connectionpool").isEnabledFor(logging.DEBUG)
    assert loading._DONE.is_set()
