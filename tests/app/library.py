"""Users with strategies, through the API and in the database."""

import asyncio
import itertools
from typing import Any
from uuid import UUID

from app.strategies import versions
from app.strategies.report import Found, Outcome, Report, Step, StepReport
from app.strategies.sources import digest
from tests.app.conftest import PASSWORD
from tests.app.whole_site import Person, Site, log_in

URL = "/api/strategies"
_NUMBERS = itertools.count()


async def somebody(site: Site) -> Person:
    name = f"author-{next(_NUMBERS)}"
    await site.app.state.accounts.create_user(name, PASSWORD)
    found = await log_in(site.app, site.http, name)
    found.ids["name"] = name
    found.ids["user_id"] = (await found.call("GET", "/api/auth/current")).json()["id"]
    return found


async def made(person: Person, name: str = "Mine", **given: Any) -> dict[str, Any]:
    answer = await person.call("POST", URL, json={"name": name, **given})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def saved(person: Person, strategy: dict[str, Any], source: str, **given: Any) -> dict[str, Any]:
    answer = await person.call("POST", f"{URL}/{strategy['id']}/versions", json={"source": source, **given})
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


async def names(person: Person, **params: Any) -> list[str]:
    return [one["name"] for one in (await person.call("GET", URL, params=params)).json()["items"]]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def report_of(source: str, *, is_valid: bool = True, has_look_ahead: bool = False) -> Report:
    """What a validation says, without one."""
    found = Found(code="LOOK_AHEAD_SERIES", severity="error", message="%(attribute)s looks ahead", values={"attribute": "mean"})
    failed = StepReport(step=Step.LOOK_AHEAD, outcome=Outcome.FAILED, findings=(found,))
    broken = StepReport(step=Step.SYNTAX, outcome=Outcome.FAILED, findings=(Found(code="E", severity="error", message="no Python"),))
    passed = StepReport(step=Step.SYNTAX, outcome=Outcome.PASSED)
    return Report(steps=(failed,) if has_look_ahead else (passed,) if is_valid else (broken,), seconds=0.1, sha256=digest(source))


async def keep(site: Site, person: Person, version: dict[str, Any], report: Report) -> None:
    async with site.app.state.platform_database.transaction() as session:
        await versions.keep_report(session, UUID(person.ids["user_id"]), UUID(version["id"]), report, now=site.app.state.clock.now())


async def use(site: Site, person: Person, version: dict[str, Any]) -> None:
    async with site.app.state.platform_database.transaction() as session:
        await versions.mark_used(session, UUID(person.ids["user_id"]), UUID(version["id"]), now=site.app.state.clock.now())


async def used(site: Site, person: Person, strategy: dict[str, Any]) -> dict[str, Any]:
    """The newest version of a strategy, used by something."""
    version = dict((await person.call("GET", f"{URL}/{strategy['id']}/versions/{strategy['newest']}")).json())
    await keep(site, person, version, report_of(version["source"]))
    await use(site, person, version)
    return version


async def delivered(site: Site) -> None:
    """Wait until every wish to share is settled."""
    async with site.app.state.platform_database.connection() as connection, asyncio.timeout(20):
        while await connection.fetchval("SELECT count(*) FROM strategy_shares WHERE settled_at IS NULL"):  # noqa: ASYNC110  # a loop of the site
            await asyncio.sleep(0.02)
