"""Strategies that attack, sent to the running application as anybody may send them: nobody but their author notices."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.accounts.audit_log import Action, Entry, entries, first_broken
from app.sandbox.wire import HEADER
from app.strategies.pace import Paces
from tests.app.whole_site import Site, state_of
from tests.sandbox.attacks.prelude import source
from tests.sandbox.attacks.rows import ATTACKS

pytestmark = pytest.mark.asyncio(loop_scope="module")
URL = "/api/strategies/validate"
#: Enough for the answer to be read before the guest's own one comes.
_STAY = "\ntime.sleep(1)\n"
_DESCRIBED: dict[str, Any] = {
    "type": "described", "class_name": "Forged", "docstring": "", "timeframe": "1h", "warm_up": 0, "style": "both", "can_short": True,
    "parameters": [], "informative": [],
}  # fmt: skip
_SCRIPT = "</script><script>alert(1)</script>"


@pytest.fixture(autouse=True)
def unhurried(site: Site) -> Iterator[None]:
    """Let nobody be told to wait, here where a user tries dozens within a minute."""
    library = site.app.state.strategies
    with state_of(site, strategies=replace(library, paces=Paces(library.clock))):
        yield


def hostile(code: str) -> str:
    """Return the source of a strategy that does this when it is loaded."""
    facts: dict[str, object] = {"server_pid": 1, "tcp_port": 5432, "secret_address": 4096, "secret_length": 16}
    return source(code, facts, header=HEADER.format)


async def validate(site: Site, code: str, *, is_whole: bool = True) -> dict[str, Any]:
    answer = await site.ada.call("POST", URL, json={"source": hostile(code), "is_whole": is_whole})
    assert answer.status_code in (200, 404, 422), answer.text
    return dict(answer.json())


async def violations(site: Site) -> list[Entry]:
    """Return what the audit log has of killed strategies, once it has been written."""
    await asyncio.sleep(0.2)
    return await entries(site.app.state.platform_database, action=Action.STRATEGY_KILLED.value)


@pytest.mark.parametrize("number", [9, 37, 39, 49, 57], ids=lambda number: f"{number:03}")
async def test_an_attack_ends_in_a_report_and_in_the_audit_log(site: Site, number: int) -> None:
    before = len(await violations(site))
    report = await validate(site, ATTACKS[number].code)
    assert not report["is_valid"]
    if number == 57:
        return  # its second answer comes when nobody waits for one any more
    found = [finding["code"] for step in report["steps"] for finding in step["findings"]]
    assert "STRATEGY_KILLED" in found
    noted = await violations(site)
    assert len(noted) == before + 1
    assert (noted[0].name, noted[0].result, noted[0].detail["purpose"]) == ("ada", "refused", "validation")


async def test_the_author_sees_the_violation_in_the_own_log_and_nobody_else_does(site: Site) -> None:
    await validate(site, ATTACKS[9].code)
    await asyncio.sleep(0.2)
    mine, others = [await person.call("GET", "/api/account/audit") for person in (site.ada, site.eve)]
    assert Action.STRATEGY_KILLED.value in mine.text
    assert Action.STRATEGY_KILLED.value not in others.text
    assert await first_broken(site.app.state.platform_database) is None


async def test_while_a_strategy_never_ends_another_users_pages_answer(site: Site) -> None:
    running = asyncio.get_running_loop().create_task(validate(site, "while True:\n    pass\n"))
    slowest, answered = 0.0, 0
    while not running.done():
        began = time.monotonic()
        page = await site.eve.browse("GET", "/strategies")
        assert page.status_code == 200
        slowest, answered = max(slowest, time.monotonic() - began), answered + 1
        await asyncio.sleep(0.05)
    assert not (await running)["is_valid"]
    assert answered > 5
    assert slowest < 1.5


@pytest.mark.parametrize(
    "changed",
    [
        {"timeframe": "1h'; DROP TABLE candles; --"},
        {"timeframe": ""},
        {"warm_up": 1_000_000},
        {"informative": [{"symbol": "../../etc/passwd", "timeframe": "1h"}]},
        {"informative": [{"symbol": "BTC/USDT", "timeframe": "nonsense"}] * 16},
        {"class_name": _SCRIPT[:64], "docstring": f"{_SCRIPT}{{{{7*7}}}}%(x)99999999s\u202e"},
        {"parameters": [{"name": _SCRIPT[:64], "kind": "int", "default": "no number", "low": 5.0, "high": -5.0, "step": 0.0}]},
        {"parameters": [{"name": "same", "kind": "choice", "default": None, "choices": []}] * 64},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_what_a_strategy_says_of_itself_may_be_a_lie(site: Site, changed: dict[str, Any]) -> None:
    report = await validate(site, f"answer({_DESCRIBED | changed!r}){_STAY}")
    assert report.get("is_valid", False) is False
    page = await site.ada.browse("GET", "/strategies")
    assert page.status_code == 200
    assert "<script>alert(1)" not in page.text


async def test_what_a_strategy_says_of_itself_is_text_on_every_page_that_keeps_it(site: Site) -> None:
    said = _DESCRIBED | {"class_name": _SCRIPT[:64], "docstring": f"{_SCRIPT}\x1b[2J\x00"}
    finding = {
        "code": _SCRIPT[:64],
        "severity": "error",
        "message": f"{_SCRIPT} %(x)s",
        "values": {"x": _SCRIPT[:64]},
        "attribute": _SCRIPT[:64],
    }
    code = f"""
answer({said!r})
time.sleep(1)
"""
    lying = f"""
def at_indicators(strategy, candles):
    answer({{"type": "checked", "findings": [{finding!r}], "output": {_SCRIPT + "<img src=x onerror=alert(1)>"!r}}})
    time.sleep(1)
"""
    for name, source_code in (("Says", code), ("Lies", lying)):
        made = await site.ada.call("POST", "/api/strategies", json={"name": name, "source": hostile(source_code)})
        assert made.status_code == 201, made.text
        strategy_id = made.json()["id"]
        report = await site.ada.call("POST", f"/api/strategies/{strategy_id}/versions/1/validate", json={})
        assert report.status_code == 200, report.text
        assert "\x1b" not in report.text
        assert "\\u001b" not in report.text
        for path in ("/strategies", f"/strategies/{strategy_id}"):
            page = await site.ada.browse("GET", path)
            assert page.status_code == 200
            assert "<script>alert(1)" not in page.text
            assert "<img src=x" not in page.text


async def test_a_finding_is_no_template_that_could_take_the_servers_memory(site: Site) -> None:
    finding = {"code": "x", "severity": "note", "message": "%(a)999999999s %s %d {0} {{7*7}}", "values": {"a": "b"}}
    code = f"""
def at_indicators(strategy, candles):
    answer({{"type": "checked", "findings": [{finding!r}] * 100}})
    time.sleep(1)
"""
    began = time.monotonic()
    report = await validate(site, code)
    assert time.monotonic() - began < 60
    assert report["steps"]


@pytest.mark.parametrize(
    ("flags", "price"), [("8", "1.0"), ("255", "1.0"), ("1", "float('inf')"), ("1", "-1.0"), ("7", "1e-300"), ("3", "1e15")]
)
async def test_decisions_forged_past_the_guest_are_refused_or_traded_like_any_others(site: Site, flags: str, price: str) -> None:
    code = f"""
def at_indicators(strategy, candles):
    for it in gc.get_objects():
        if type(it).__name__ == "Sheet":
            it.flags[:] = {flags}
            it.column("stop")[:] = it.column("target")[:] = {price}
            it.come_to(len(it))
    answer({{"type": "ran", "rows": len(candles.close)}})
    time.sleep(3)
"""
    answer = await site.ada.call("POST", "/api/strategies/quick", json={"source": hostile(code)})
    assert answer.status_code in (200, 422), answer.text
    if flags in ("8", "255") or price in ("float('inf')", "-1.0"):
        assert (answer.status_code, answer.json()["code"]) == (422, "STRATEGY_KILLED")


@pytest.mark.parametrize("second", [{}, {"warm_up": 1_000_000}, {"warm_up": 1_200}, {"timeframe": "1d"}, {"style": "template"}], ids=str)
@pytest.mark.parametrize("path", [URL, "/api/strategies/quick"])
async def test_who_answers_in_place_of_the_guest_deceives_its_owner_at_most(site: Site, path: str, second: dict[str, Any]) -> None:
    """It reads the requests itself, and says another thing of itself when it is asked again."""
    code = f"""
pack, unpack = need("msgspec").msgpack.encode, need("msgspec").msgpack.decode
has_candles = any(type(it).__name__ == "Guest" and it._frames for it in gc.get_objects())
described = {_DESCRIBED!r} | ({second!r} if has_candles else {{}})
answer(described)

def exactly(count):
    taken = b""
    while len(taken) < count:
        taken += os.read(3, count - len(taken))
    return taken

while True:
    asked = unpack(exactly(struct.unpack(HEADER, exactly(4))[0]))
    replies = {{"load": described, "run": {{"type": "ran", "rows": 2**53}}, "check": {{"type": "checked", "findings": []}}}}
    answer(replies[asked["request"]["type"]], asked["request_id"])
"""
    answer = await site.ada.call("POST", path, json={"source": hostile(code)})
    assert answer.status_code in (200, 422), answer.text
    assert "NaN" not in answer.text
    if path == URL and not second:
        assert answer.json()["is_valid"], "the server believes it, as it would believe any strategy that lies about itself"


@pytest.mark.parametrize(
    "reply", ['{"type": "ran", "rows": 2**53}', '{"type": "ran", "rows": 0}', '{"type": "decision", "action": "long"}']
)
async def test_an_answer_out_of_place_is_found_out(site: Site, reply: str) -> None:
    report = await validate(site, f"answer({reply}){_STAY}")
    assert not report["is_valid"]
    assert "STRATEGY_KILLED" in [finding["code"] for step in report["steps"] for finding in step["findings"]]


@pytest.mark.parametrize(
    "body",
    [
        b'{"source": "x = \'\\ud800\'"}',
        b'{"source": "x = 1\\u0000"}',
        b'{"source": "x = 1", "parameters": {"fast": 1e400}}',
        b'{"source": "x = 1", "parameters": {"fast": 123456789012345678901234567890}}',
        b'{"source": "x = 1", "parameters": {"' + b"n" * 65 + b'": 1}}',
        b'{"source": "x = 1", "parameters": {"\\u0000": "\\u001b[2J"}}',
        b'{"source": "' + b"x" * 131_073 + b'"}',
    ],
    ids=["half a character", "null", "infinite", "huge", "long name", "controls", "too long"],
)
async def test_what_no_worker_would_take_is_refused_before_it_gets_there(site: Site, body: bytes) -> None:
    before = len(await violations(site))
    answer = await site.ada.call("POST", URL, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 422), answer.text
    assert len(await violations(site)) == before, "it was taken for the strategy's fault"


async def test_after_all_of_it_the_jail_still_validates(site: Site) -> None:
    answer = await site.eve.call("POST", URL, json={"source": hostile(""), "is_whole": False})
    assert answer.status_code == 200
    steps = {step["step"]: step for step in answer.json()["steps"]}
    assert steps["contract"]["outcome"] != "failed", steps["contract"]
