"""The jail inside the whole application: its audit entries, its place on pages, in /readyz and in the numbers."""

import re
from dataclasses import replace
from uuid import UUID

import pytest
import pytest_asyncio

from app.errors import StrategyKilled
from app.sandbox.jail import Jail
from app.sandbox.link import Finding, Level, Report
from app.sandbox.messages import Load
from app.sandbox.quotas import Purpose
from tests.app.whole_site import Person, Site, log_in
from tests.sandbox.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(site: Site) -> Person:
    return await log_in(site.app, site.http, "admin")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jail(site: Site) -> Jail:
    found: Jail = site.app.state.jail
    await found.ready()
    return found


@pytest.fixture
def unlocked(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same site on a machine that cannot lock anything in, whose administrator trusts everybody."""
    assert jail._connection is not None
    missing = Finding(code="seccomp", is_good=False, detail="<b>none</b>")
    monkeypatch.setattr(jail._connection, "report", Report(level=Level.D, findings=[missing]))
    monkeypatch.setattr(jail, "config", replace(jail.config, trusts_strategies=True))


async def test_a_strategy_that_is_killed_stands_in_its_owners_audit_log(site: Site, jail: Jail) -> None:
    user_id = UUID((await site.ada.call("GET", "/api/auth/current")).json()["id"])
    with pytest.raises(StrategyKilled):
        async with jail.worker(user_id=user_id, purpose=Purpose.LIVE, strategy="0190a7b2") as worker:
            await worker.ask(Load(source="while True: pass"), wall_s=0.2)
    await until(jail.violations.is_noted)
    (row,) = (await site.ada.call("GET", "/api/account/audit", params={"action": "strategy_killed"})).json()["items"]
    assert (row["result"], row["object"]) == ("refused", "strategy:0190a7b2")
    assert {name: row["detail"][name] for name in ("purpose", "cause", "signal", "is_paused")} == {
        "purpose": "live",
        "cause": "wall",
        "signal": 9,
        "is_paused": False,
    }
    assert (await site.eve.call("GET", "/api/account/audit", params={"action": "strategy_killed"})).json()["items"] == []
    assert "Strategy stopped by force" in (await site.ada.browse("GET", "/account/log")).text


async def test_administrators_see_the_level_and_every_finding(site: Site, admin: Person, jail: Jail) -> None:
    page = (await admin.browse("GET", "/admin")).text
    assert jail.report is not None
    assert f"Level {jail.report.level}" in page
    for finding in jail.report.findings:
        assert f'id="finding-{finding.code}"' in page
    assert "Attack: read a file around Python" in page
    again = await admin.browse("GET", "/admin/jail", headers={"HX-Request": "true"})
    assert 'id="finding-seccomp"' in again.text
    assert (await site.ada.browse("GET", "/admin/jail")).status_code == 403


async def test_readiness_tells_of_the_jail_and_does_not_depend_on_it(site: Site, jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    told = (await site.http.get("/readyz")).json()
    assert told["jail"]["level"] == jail.level
    assert told["jail"]["is_open"]
    monkeypatch.setattr(jail, "_connection", None)
    closed = await site.http.get("/readyz")
    assert closed.json()["jail"] == {"level": None, "is_open": False, "workers": 0, "restarts": 0}
    assert closed.json()["status"] == told["status"]


async def test_numbers_tell_the_level_and_the_kills(admin: Person, jail: Jail) -> None:
    text = (await admin.call("GET", "/metrics")).text
    assert f'aristobot_jail_level{{level="{jail.level}"}} 1.0' in text
    kills = re.search(r'aristobot_jail_kills_total\{cause="wall"\} (\S+)', text)
    assert kills is not None
    assert float(kills[1]) >= 1


@pytest.mark.usefixtures("unlocked")
async def test_every_page_says_in_red_when_strategies_are_not_locked_in(site: Site, admin: Person) -> None:
    for path in ("/", "/webhooks", "/brokers"):
        assert 'id="unlocked-strategies"' in (await site.ada.browse("GET", path)).text, path
    page = (await admin.browse("GET", "/admin")).text
    assert "Level D" in page
    assert "&lt;b&gt;none&lt;/b&gt;" in page
    assert "can take over this server" in page


async def test_a_jail_that_is_good_needs_no_banner(site: Site, jail: Jail) -> None:
    assert jail.is_open
    assert 'id="unlocked-strategies"' not in (await site.ada.browse("GET", "/")).text


async def test_the_jail_outlives_its_sandboxd_and_so_does_the_site(
    site: Site, admin: Person, jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jail._connection is not None
    assert jail._connection._process is not None
    jail._connection._process.kill()
    await until(lambda: jail.problem != "")
    assert "is not there" in (await admin.browse("GET", "/admin/jail")).text
    assert (await site.http.get("/healthz")).status_code == 200
    await jail.ready()
    assert jail.restarts >= 1
