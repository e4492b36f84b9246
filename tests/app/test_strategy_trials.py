"""What is done with the text in the editor, through the whole application and the real jail: checked, validated step by step, tried."""

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from app.core.tenancy import working_for
from app.sandbox.messages import Parameter, Value
from app.strategies import service
from app.strategies.pace import CHECKS_PER_MINUTE, VALIDATIONS_PER_MINUTE
from app.strategies.templates import BLANK, template
from app.ui.strategy_editor import NotAValue, read_value
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = template(BLANK).source
FAILS = SOURCE.replace("return ta.crossed_below(self.close, self.average)", "return 1 / 0")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        yield running


async def make(site: Site, person: Person, source: str = SOURCE) -> UUID:
    principal = await site.app.state.accounts.by_cookie(person.cookie)
    with working_for(principal.user_id):
        async with site.app.state.database.transaction() as session:
            now = site.app.state.clock.now()
            made = await service.create_strategy(session, principal.user_id, name="Trend", source=source, now=now, is_renamed=True)
            return made.id


@pytest_asyncio.fixture(loop_scope="module")
async def strategy_id(site: Site) -> UUID:
    """A strategy of ada's with one version."""
    return await make(site, site.ada)


async def post(person: Person, path: str, **form: Any) -> httpx.Response:
    headers = {"X-CSRF-Token": person.csrf, "HX-Request": "true"}
    return await person.browse("POST", path, files={name: (None, str(value)) for name, value in form.items()}, headers=headers)


def states(stream: str) -> list[tuple[str, str]]:
    """Every step that the stream tells of, in order, with its state."""
    return re.findall(r'id="step-(\w+)" data-state="(\w+)"', stream)


async def test_a_validation_says_of_each_step_that_it_began_and_what_came_of_it(site: Site, strategy_id: UUID) -> None:
    answer = await post(site.ada, f"/strategies/{strategy_id}/validate", source=SOURCE)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = states(answer.text)
    steps = [name for name, _ in told[:8]]
    assert steps == ["syntax", "lint", "contract", "dry_run", "look_ahead", "warm_up", "values", "speed"]
    assert {state for _, state in told[:8]} == {"waiting"}
    for place, step in enumerate(steps):
        assert told[8 + 2 * place] == (step, "running")
        assert told[9 + 2 * place][0] == step
        assert told[9 + 2 * place][1] in ("passed", "warned")
    assert 'hx-target="#sed-problems"' in answer.text
    assert 'id="param-length"' in answer.text
    html = (await site.ada.browse("GET", f"/strategies/{strategy_id}")).text
    assert "pill ok" in html, "the version has its report from now on"


async def test_a_text_that_is_saved_after_it_was_validated_is_valid_at_once(site: Site, strategy_id: UUID) -> None:
    changed = SOURCE.replace("50, low", "40, low")
    await post(site.ada, f"/strategies/{strategy_id}/validate", source=changed)
    saved = await post(site.ada, f"/strategies/{strategy_id}", source=changed, revision=0, name="Forty")
    assert "pill ok" in saved.text
    other = await post(site.ada, f"/strategies/{strategy_id}", source=changed + "\n", revision=1, name="Forty")
    assert 'data-of-text="same"><span class="pill mut"' in other.text.replace("\n", "").replace("  ", ""), "one letter more is another text"


async def test_what_one_user_validated_says_nothing_of_anothers_version(site: Site) -> None:
    source = SOURCE.replace("50, low", "45, low")
    hers = await make(site, site.ada)
    await post(site.ada, f"/strategies/{hers}/validate", source=source)
    his = await make(site, site.eve)
    saved = await post(site.eve, f"/strategies/{his}", source=source, revision=0, name="Same text")
    assert "pill ok" not in saved.text


async def test_a_mistake_is_told_with_its_line_while_it_is_written(site: Site, strategy_id: UUID) -> None:
    wrong = SOURCE.replace("self.average)\n\n    def should_exit", "average)\n\n    def should_exit")
    answer = await post(site.ada, f"/strategies/{strategy_id}/check", source=wrong)
    line = wrong.split("\n").index("        return ta.crossed_above(self.close, average)") + 1
    assert f'data-mark="{line}"' in answer.text
    assert "average" in answer.text
    assert ("lint", "failed") in states(answer.text)
    assert ("dry_run", "waiting") in states(answer.text)


async def test_a_check_that_cannot_be_done_now_says_nothing(site: Site) -> None:
    strategy_id = await make(site, site.eve)
    principal = await site.app.state.accounts.by_cookie(site.eve.cookie)
    paces = site.app.state.strategies.paces
    for _ in range(CHECKS_PER_MINUTE):
        paces.checks.take(principal.user_id)
    answer = await post(site.eve, f"/strategies/{strategy_id}/check", source=SOURCE)
    assert (answer.status_code, answer.text) == (204, "")
    for _ in range(VALIDATIONS_PER_MINUTE):
        paces.validations.take(principal.user_id)
    refused = await post(site.eve, f"/strategies/{strategy_id}/validate", source=SOURCE)
    assert refused.status_code == 429
    assert "Too many strategies were tried" in refused.headers["HX-Trigger"]


async def test_a_trial_has_its_numbers_and_its_chart_and_uses_what_was_typed(site: Site, strategy_id: UUID) -> None:
    path = f"/strategies/{strategy_id}/trial"
    plain = await post(site.ada, path, source=SOURCE)
    assert "sed-numbers" in plain.text
    assert '"candles":' in plain.text
    as_drawn = await post(site.ada, path, source=SOURCE, **{"param:length": "50", "was:length": "50"})
    typed = await post(site.ada, path, source=SOURCE, **{"param:length": "5", "was:length": "50"})
    numbers = [re.search(r"<dl.*?</dl>", answer.text, re.DOTALL)[0] for answer in (plain, as_drawn, typed)]  # type: ignore[index]
    assert numbers[0] == numbers[1]
    assert numbers[0] != numbers[2]


async def test_a_field_that_nobody_touched_does_not_hold_back_what_the_source_says_now(site: Site, strategy_id: UUID) -> None:
    path = f"/strategies/{strategy_id}/trial"
    changed = SOURCE.replace("50, low", "6, low")
    fresh = await post(site.ada, path, source=changed)
    with_old_form = await post(site.ada, path, source=changed, **{"param:length": "50", "was:length": "50"})
    numbers = [re.search(r"<dl.*?</dl>", answer.text, re.DOTALL)[0] for answer in (fresh, with_old_form)]  # type: ignore[index]
    assert numbers[0] == numbers[1]


async def test_a_strategy_that_fails_says_where(site: Site, strategy_id: UUID) -> None:
    answer = await post(site.ada, f"/strategies/{strategy_id}/trial", source=FAILS)
    line = FAILS.split("\n").index("        return 1 / 0") + 1
    assert "ZeroDivisionError" in answer.text
    assert f'data-line="{line}"' in answer.text


async def test_a_market_that_does_not_exist_is_refused_in_words(site: Site, strategy_id: UUID) -> None:
    trial = await post(site.ada, f"/strategies/{strategy_id}/trial", source=SOURCE, symbol="NOTHING/USDT")
    assert "sed-numbers" not in trial.text
    assert 'role="alert"' in trial.text
    validation = await post(site.ada, f"/strategies/{strategy_id}/validate", source=SOURCE, symbol="NOTHING/USDT")
    assert 'role="alert"' in validation.text


@pytest.mark.parametrize(
    ("parameter", "typed", "value"),
    [
        (Parameter(name="n", kind="int", default=3, low=1, high=9), "7", 7),
        (Parameter(name="n", kind="int", default=3), "", 3),
        (Parameter(name="x", kind="float", default=0.5, low=0.0, high=1.0), " 0,25 ", 0.25),
        (Parameter(name="x", kind="float", default=0.5, is_optional=True), "", None),
        (Parameter(name="b", kind="bool", default=True), "false", False),
        (Parameter(name="c", kind="choice", default="EMA", choices=["EMA", "SMA"]), "SMA", "SMA"),
    ],
)
async def test_a_typed_value_is_read_as_its_parameter_is(parameter: Parameter, typed: str, value: Value) -> None:
    assert read_value(parameter, typed) == value


@pytest.mark.parametrize(
    ("parameter", "typed"),
    [
        (Parameter(name="n", kind="int", default=3, low=1, high=9), "10"),
        (Parameter(name="n", kind="int", default=3, low=1, high=9), "2.5"),
        (Parameter(name="x", kind="float", default=0.5), "nan"),
        (Parameter(name="x", kind="float", default=0.5), "inf"),
        (Parameter(name="x", kind="float", default=0.5), "1e400"),
        (Parameter(name="x", kind="float", default=0.5), "a"),
        (Parameter(name="c", kind="choice", default="EMA", choices=["EMA", "SMA"]), "KAMA"),
    ],
)
async def test_what_is_no_value_of_a_parameter_is_refused(parameter: Parameter, typed: str) -> None:
    with pytest.raises(NotAValue):
        read_value(parameter, typed)
