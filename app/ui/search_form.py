"""The form of a new search: that of a backtest, with bounds in place of values, and how the search goes about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fastapi import FastAPI
from starlette.datastructures import FormData

from app.backtests.models import Backtest
from app.backtests.search.figures import OBJECTIVE_WORDS, Objective
from app.backtests.search.models import MOST_TRIALS, Method
from app.backtests.search.service import SearchWish
from app.backtests.search.space import AxisWish, space_of, usual
from app.backtests.service import backtest_numbered
from app.core.db import Database
from app.core.i18n import N_, gettext
from app.errors import AppError, InvalidInput
from app.sandbox.messages import Described, Parameter, Value
from app.ui.backtest_form import Asked, FormMaker, TypedBacktest, refused
from app.ui.searches import METHOD_WORDS, value_text
from app.ui.strategy_editor import NotAValue, read_value
from app.ui.views.backtests import BacktestFields, BacktestForm
from app.ui.views.searches import AxisField, SearchFields, SearchForm
from app.ui.views.shell import Choice

PATH: Final = "/backtests/searches"
_LONGEST: Final = 40
_WHOLE: Final[dict[str, tuple[int, int]]] = {"trials": (1, MOST_TRIALS), "least_trades": (0, 1_000_000), "test_percent": (0, 80)}


class TypedSearch(TypedBacktest):
    """What the form sends besides the parameters."""

    method: str = Method.TPE.value
    objective: str = Objective.SHARPE.value
    trials: str = ""
    least_trades: str = ""
    test_percent: str = ""
    backtest: str = ""

    def fields(self) -> BacktestFields:
        """Return what was typed of what a backtest has as well."""
        return TypedBacktest(**{name: getattr(self, name) for name in TypedBacktest.model_fields}).fields()

    def search_fields(self) -> SearchFields:
        """Return what was typed, none of it longer than its field."""
        names = SearchFields.__dataclass_fields__
        return SearchFields(**{name: str(getattr(self, name)).strip()[:_LONGEST] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedAxis:
    """What was typed for one parameter."""

    is_varied: bool
    low: str = ""
    high: str = ""
    step: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSearch:
    """What the form is to show: what was typed, and what is wrong. Axes by parameter; those that are missing are as usual."""

    base: Asked
    fields: SearchFields
    axes: Mapping[str, TypedAxis] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    axis_errors: Mapping[str, str] = field(default_factory=dict)


def typed_axes(form: FormData) -> dict[str, TypedAxis]:
    """Return what was typed for each parameter that the form had."""
    sent = {name: value[:_LONGEST].strip() for name, value in form.multi_items() if isinstance(value, str)}
    names = [name.removeprefix("axis:") for name in sent if name.startswith("axis:")]
    return {
        name: TypedAxis(
            is_varied=f"vary:{name}" in sent,
            **{part: sent.get(f"{part}:{name}", "") for part in ("low", "high", "step", "value")},
        )
        for name in names[:64]
    }


@dataclass(frozen=True, slots=True)
class SearchFormMaker:
    """Makes the form for one user."""

    app: FastAPI
    database: Database
    user_id: UUID

    @property
    def maker(self) -> FormMaker:
        """Makes the part that is a backtest's."""
        return FormMaker(self.app, self.database, self.user_id)

    async def fresh(self, *, strategy: str = "", version: str = "") -> SearchForm:
        """Return the form as somebody meets it who has typed nothing."""
        base = await self.maker.fresh(strategy=strategy, version=version)
        return await self.form(AskedSearch(base=Asked(fields=base.fields), fields=SearchFields()), base=base)

    async def of_backtest(self, backtest: Backtest, number: int) -> SearchForm:
        """Return the form for what a backtest was made of; its values are those of parameters that do not vary."""
        base = await self.maker.copy(backtest, number)
        described = await self._described(base.fields)
        axes = {one.name: self._typed(one, backtest.parameters) for one in (described.parameters if described else [])}
        fields = SearchFields(backtest=str(backtest.number))
        return await self.form(AskedSearch(base=Asked(fields=base.fields), fields=fields, axes=axes), base=base)

    async def form(self, asked: AskedSearch, *, base: BacktestForm | None = None) -> SearchForm:
        """Return the form with what was typed."""
        made = base or await self.maker.form(asked.base)
        described = await self._described(made.fields)
        parameters = [] if described is None else described.parameters
        axes = tuple(self._axis(one, asked) for one in parameters)
        return SearchForm(
            base=replace(made, path=PATH, copied=0, errors=made.errors | dict(asked.base.errors)),
            fields=asked.fields,
            axes=axes,
            methods=tuple(Choice(value=one.value, label=gettext(words)) for one, words in METHOD_WORDS.items()),
            objectives=tuple(Choice(value=one.value, label=gettext(words)) for one, words in OBJECTIVE_WORDS.items()),
            points=_points(parameters, asked, axes),
            errors=dict(asked.errors),
        )

    async def read(self, fields: BacktestFields, asked: AskedSearch) -> tuple[SearchWish | None, AskedSearch]:
        """Return what is wished for, or None and what is wrong."""
        base, base_asked = await self.maker.read(fields, {})
        described = await self._described(fields)
        reading = _Reading(asked)
        axes, values = reading.axes(described)
        numbers = {name: reading.whole(name) for name in _WHOLE}
        method, objective = reading.choice(Method, "method"), reading.choice(Objective, "objective")
        asked = replace(asked, base=base_asked, errors=reading.errors, axis_errors=reading.axis_errors)
        if base is None or reading.errors or reading.axis_errors or method is None or objective is None:
            return None, asked
        backtest_id = await self._backtest_id(asked.fields.backtest)
        wish = SearchWish(
            base=replace(base, parameters=values), axes=axes, method=method, objective=objective, trials=numbers["trials"] or 1,
            least_trades=numbers["least_trades"] or 0, test_percent=numbers["test_percent"] or 0, backtest_id=backtest_id,
        )  # fmt: skip
        return wish, asked

    async def _backtest_id(self, given: str) -> UUID | None:
        if not given.isdecimal() or not given.isascii() or len(given) > 9 or int(given) < 1:
            return None
        async with self.database.transaction() as session:
            try:
                return (await backtest_numbered(session, self.user_id, int(given))).id
            except AppError:
                return None

    async def _described(self, fields: BacktestFields) -> Described | None:
        try:
            return await self.maker.described(fields)
        except AppError:
            return None  # the form says it at the version

    def _typed(self, parameter: Parameter, values: Mapping[str, Any]) -> TypedAxis:
        wish = usual(parameter)
        value = values.get(parameter.name, parameter.default)
        if wish is None:
            return TypedAxis(is_varied=False, value=value_text(value))
        bounds = {part: "" if (given := getattr(wish, part)) is None else value_text(given) for part in ("low", "high", "step")}
        return TypedAxis(is_varied=parameter.kind in ("int", "float"), value=value_text(value), **bounds)

    def _axis(self, parameter: Parameter, asked: AskedSearch) -> AxisField:
        typed = asked.axes.get(parameter.name) or self._typed(parameter, {})
        low, high = ("" if bound is None else value_text(bound) for bound in (parameter.low, parameter.high))
        return AxisField(
            name=parameter.name,
            kind=parameter.kind,
            is_varied=typed.is_varied,
            low=typed.low,
            high=typed.high,
            step=typed.step,
            value=typed.value,
            default=value_text(parameter.default),
            choices=tuple(str(one) for one in ((True, False) if parameter.kind == "bool" else parameter.choices)),
            bounds=f"{low or '−∞'} … {high or '∞'}" if low or high else "",
            help=parameter.help,
            error=asked.axis_errors.get(parameter.name, ""),
        )


def _points(parameters: list[Parameter], asked: AskedSearch, axes: tuple[AxisField, ...]) -> Decimal | None:
    shown = {one.name: TypedAxis(is_varied=one.is_varied, low=one.low, high=one.high, step=one.step, value=one.value) for one in axes}
    reading = _Reading(replace(asked, axes=shown))
    wishes, _ = reading.axes_of(parameters)
    try:
        return None if reading.axis_errors or not wishes else Decimal(space_of(parameters, wishes).size)
    except InvalidInput:
        return None


def refused_search(asked: AskedSearch, error: AppError) -> AskedSearch:
    """Return what is to be shown after a wish was refused."""
    if error.field in ("space", "method", "objective", *_WHOLE):
        return replace(asked, errors={error.field: error.message})
    return replace(asked, base=refused(asked.base, error))


class _Reading:
    """Reads what a search's form has besides a backtest's; what cannot be read is in `errors` and `axis_errors`."""

    def __init__(self, asked: AskedSearch) -> None:
        self._asked = asked
        self.errors: dict[str, str] = {}
        self.axis_errors: dict[str, str] = {}

    def axes(self, described: Described | None) -> tuple[list[AxisWish], dict[str, Value]]:
        """Return what varies, and the values of what does not where they differ from the strategy's own."""
        found = self.axes_of([] if described is None else described.parameters)
        if described is not None and not found[0] and not self.axis_errors:
            self.errors["space"] = N_("choose at least one parameter that varies")
        return found

    def axes_of(self, parameters: list[Parameter]) -> tuple[list[AxisWish], dict[str, Value]]:
        """As `axes`."""
        wishes: list[AxisWish] = []
        values: dict[str, Value] = {}
        for parameter in parameters:
            typed = self._asked.axes.get(parameter.name)
            if typed is None:
                continue
            try:
                if typed.is_varied:
                    wishes.append(_wish(parameter, typed))
                    space_of([parameter], wishes[-1:])
                elif (value := read_value(parameter, typed.value)) != parameter.default:
                    values[parameter.name] = value
            except (NotAValue, InvalidInput) as error:
                self.axis_errors[parameter.name] = str(error) if isinstance(error, NotAValue) else error.message
        return wishes, values

    def whole(self, name: str) -> int | None:
        """Return a whole number within its bounds."""
        text = getattr(self._asked.fields, name)
        least, most = _WHOLE[name]
        if not text.isdecimal() or not text.isascii() or len(text) > 9 or not least <= int(text) <= most:
            self.errors[name] = N_(f"This must be a whole number from {least} to {most}.")
            return None
        return int(text)

    def choice(self, kind: type[Any], name: str) -> Any:
        """Return one of the choices."""
        try:
            return kind(getattr(self._asked.fields, name))
        except ValueError:
            self.errors[name] = N_("Choose one of these.")
            return None


def _wish(parameter: Parameter, typed: TypedAxis) -> AxisWish:
    if parameter.kind in ("bool", "choice"):
        return AxisWish(name=parameter.name)
    return AxisWish(name=parameter.name, low=_number(typed.low), high=_number(typed.high), step=_number(typed.step))


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text.replace(",", ".").replace("−", "-"))
    except ValueError as error:
        raise NotAValue(gettext("That is not a number.")) from error
