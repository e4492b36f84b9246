"""What is done with the text in the editor: looked at while it is written, validated step by step, tried on the last candles."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Form, Request
from starlette.responses import Response, StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.core.i18n import N_, gettext, use_language
from app.core.streams import check_room, streaming
from app.errors import AppError
from app.strategies import service, versions
from app.strategies.report import Report, StepReport
from app.strategies.service import Market
from app.strategies.validation import Begun, Progress
from app.ui.pages.strategy_editor import STATE, VERSIONS, Source
from app.ui.strategy_editor import (
    editor_state,
    output_of,
    parameter_form,
    problem_list,
    running_row,
    step_row,
    step_rows,
    version_list,
)
from app.ui.strategy_parameters import parameter_values, typed_parameters
from app.ui.strategy_trial import trial_view
from app.ui.surroundings import fragment, reader_of, templating_of
from app.ui.views import OutputText, ParameterForm, ProblemList, StepRow, TrialView

router = APIRouter(include_in_schema=False)
log = structlog.get_logger(__name__)

_STEP: Final = "fragments/strategies/_step.html"
_PROBLEMS: Final = "fragments/strategies/_problems.html"
_OUTPUT: Final = "fragments/strategies/_output.html"
_PARAMETERS: Final = "fragments/strategies/_parameters.html"
_TRIAL: Final = "fragments/strategies/_trial.html"
_BROKE_OFF: Final = N_("The validation broke off. Try again.")

Word = Annotated[str, Form(max_length=64)]


def _market(symbol: str, timeframe: str) -> Market:
    return Market(symbol=symbol or None, timeframe=timeframe or None)


async def _remember(request: Request, principal: Principal, strategy_id: UUID, market: Market) -> None:
    async with request.app.state.database.transaction() as session:
        await service.remember_market(session, principal.user_id, strategy_id, market)


# ---- while it is written


@router.post("/strategies/{strategy_id}/check")
async def check(request: Request, principal: CurrentUser, strategy_id: UUID, source: Source = "") -> Response:
    """Say what can be told of the text without candles; nothing where that cannot be done now: nobody asked for it."""
    state = request.app.state
    async with state.database.transaction() as session:
        await service.get_strategy(session, principal.user_id, strategy_id)
    try:
        state.strategies.paces.checks.take(principal.user_id)
        report = await state.strategies.validator.report(principal.user_id, source, is_whole=False)
    except AppError:
        return Response(status_code=204)
    with use_language(reader_of(request, principal).language):
        problems = problem_list(report, checked_at=state.clock.now())
        rows = step_rows(report)
    parts = "".join(_partial(request, principal, _STEP, row, f"step-{row.name}") for row in rows)
    if report.described is not None:
        form = parameter_form(report.described, typed=typed_parameters(await request.form()))
        parts += _partial(request, principal, _PARAMETERS, form, "sed-parameters")
    return fragment(request, principal, _PROBLEMS, problems, partials=parts)


def _partial(request: Request, principal: Principal, template: str, region: object, target: str) -> str:
    return templating_of(request).partial(template, region, target=target, reader=reader_of(request, principal), swap="outerHTML")


# ---- validated


@router.post("/strategies/{strategy_id}/validate")
async def validate(
    request: Request, principal: CurrentUser, strategy_id: UUID, *, source: Source = "", symbol: Word = "", timeframe: Word = ""
) -> StreamingResponse:
    """Validate the text as it stands, and say of each step what came of it as soon as it is known.

    Raises:
        StrategyNotFound: no such strategy of this user.
        TrialRate: this user has validated very often.
        SourceTooLong: the text has too many characters.
    """
    market = _market(symbol, timeframe)
    await _remember(request, principal, strategy_id, market)
    check_room(request, principal.user_id)
    request.app.state.strategies.paces.validations.take(principal.user_id)
    stream = ValidationStream(request, principal, strategy_id, source=service.check_source(source), market=market)
    return streaming(request, principal.user_id, stream)


class ValidationStream:
    """What one validation tells its page: regions as htmx puts them in place."""

    def __init__(self, request: Request, principal: Principal, strategy_id: UUID, *, source: str, market: Market) -> None:
        self._request = request
        self._principal = principal
        self._strategy_id = strategy_id
        self._source = source
        self._market = market
        self._language = reader_of(request, principal).language

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield the steps as they begin and end, and what was found at the end."""
        state = self._request.app.state
        for row in step_rows(None):
            yield self._message(_STEP, row, f"step-{row.name}")
        try:
            steps = state.strategies.validator.validate(self._principal.user_id, self._source, market=self._market)
            async with aclosing(steps) as progress:
                async for one in progress:
                    for message in await self._told(one):
                        yield message
        except AppError as error:
            yield self._message(_PROBLEMS, ProblemList(failure=error.message), "sed-problems")
        except Exception:
            # The answer has begun: whoever reads it must not wait for an end that never comes.
            log.exception("validation broke off", strategy=str(self._strategy_id))
            yield self._message(_PROBLEMS, ProblemList(failure=_BROKE_OFF), "sed-problems")

    async def _told(self, progress: Progress) -> list[bytes]:
        with use_language(self._language):
            match progress:
                case Begun():
                    return [self._step(running_row(progress.step))]
                case StepReport():
                    return [self._step(step_row(progress))]
                case Report():
                    return await self._ended(progress)

    async def _ended(self, report: Report) -> list[bytes]:
        state = self._request.app.state
        now = state.clock.now()
        said = [
            self._message(_PROBLEMS, problem_list(report, checked_at=now), "sed-problems"),
            self._message(_OUTPUT, output_of(report), "sed-output"),
        ]
        if report.described is not None:
            said.append(self._message(_PARAMETERS, parameter_form(report.described), "sed-parameters"))
        return said + await self._kept(report)

    async def _kept(self, report: Report) -> list[bytes]:
        """Keep the report with the version that has this text, or until there is one."""
        state, user_id = self._request.app.state, self._principal.user_id
        async with state.database.transaction() as session:
            strategy = await service.get_strategy(session, user_id, self._strategy_id)
            newest = await versions.get_version(session, user_id, self._strategy_id)
            if newest.sha256 == report.sha256:
                newest = await versions.keep_report(session, user_id, newest.id, report, now=state.clock.now())
            else:
                state.recent_reports.keep(user_id, report)
            rows = await versions.list_versions(session, user_id, self._strategy_id)
            shown = editor_state(strategy, newest, report=report)
            return [self._message(STATE, shown, "sed-state"), self._message(VERSIONS, version_list(strategy, rows), "sed-versions")]

    def _step(self, row: StepRow) -> bytes:
        return self._message(_STEP, row, f"step-{row.name}")

    def _message(self, template: str, region: object, target: str) -> bytes:
        html = _partial(self._request, self._principal, template, region, target)
        return ("".join(f"data: {line}\n" for line in html.splitlines() if line.strip()) + "\n").encode()


# ---- tried


@router.post("/strategies/{strategy_id}/trial")
async def try_out(
    request: Request, principal: CurrentUser, strategy_id: UUID, *, source: Source = "", symbol: Word = "", timeframe: Word = ""
) -> Response:
    """Run the text as it stands over the last candles, with the parameters that were typed."""
    await _remember(request, principal, strategy_id, _market(symbol, timeframe))
    typed = typed_parameters(await request.form())
    with use_language(reader_of(request, principal).language):
        try:
            return await _run(request, principal, source, market=_market(symbol, timeframe), typed=typed)
        except AppError as error:
            line, column = (_whole(error.context.get(name)) for name in ("line", "column"))
            output = OutputText(traceback=str(error.context.get("traceback", "")))
            return _tried(request, principal, TrialView(failure=error.message, line=line, column=column), output=output)


async def _run(request: Request, principal: Principal, source: str, *, market: Market, typed: Mapping[str, str]) -> Response:
    state = request.app.state
    state.strategies.paces.quick_backtests.take(principal.user_id)
    described = await state.strategies.quick.describe(principal.user_id, source)
    parameters, errors = parameter_values(described, typed)
    form = parameter_form(described, typed=typed, errors=errors)
    if errors:
        trial = TrialView(failure=gettext("Some parameters cannot be used: see the tab Parameters."))
        return _tried(request, principal, trial, form=form)
    result = await state.strategies.quick.run(principal.user_id, source, market=market, parameters=parameters)
    return _tried(request, principal, trial_view(result), form=form, output=OutputText(text=result.output))


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _tried(
    request: Request, principal: Principal, trial: TrialView, *, form: ParameterForm | None = None, output: OutputText | None = None
) -> Response:
    parts = "" if form is None else _partial(request, principal, _PARAMETERS, form, "sed-parameters")
    if output is not None:
        parts += _partial(request, principal, _OUTPUT, output, "sed-output")
    return fragment(request, principal, _TRIAL, trial, partials=parts)
