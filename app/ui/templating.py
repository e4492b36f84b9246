"""One Jinja environment for every page, fragment and live message.

The person's language and zone are set around each rendering, so the filters need no argument. A page and its fragment are the same file:
the page includes `fragments/…/_x.html` with `region` set, and `fragment()` renders that file alone.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from app.core import formatters, i18n, sentences
from app.domain.candles import to_milliseconds
from app.domain.instruments import plain
from app.ui import labels
from app.ui.assets import Assets
from app.ui.icons import build_sprite
from app.ui.views import ChartLine, EquityPoint, FillMark, MarketFacts, Reader, Shell
from app.ui.views.portfolio import FlowMark

ToastLevel = Literal["success", "info", "warning", "error"]

_zone: ContextVar[str] = ContextVar("zone", default="UTC")


class PageView(Protocol):
    """What every page's view-model has."""

    @property
    def shell(self) -> Shell:
        """The page's surroundings."""


class Templating:
    """Renders view-models. Autoescaping is on, an unknown name is an error.

    Args:
        templates: Folder of the templates.
        static: Folder of the static files (for the icons).
        assets: Addresses of static files.
        now: The clock relative times are measured against.
    """

    def __init__(self, templates: Path, static: Path, *, assets: Assets, now: Callable[[], datetime]) -> None:
        self._now = now
        environment = Environment(
            loader=FileSystemLoader(templates),
            autoescape=True,
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.policies["ext.i18n.trimmed"] = True
        environment.install_gettext_callables(  # type: ignore[attr-defined]  # added by the i18n extension
            i18n.gettext, i18n.ngettext, newstyle=True, pgettext=i18n.pgettext, npgettext=i18n.npgettext
        )
        environment.filters.update(_filters(now))
        environment.globals.update(static_url=assets.url, sprite=build_sprite(static / "vendor" / "lucide"))
        self._environment = environment

    def page(self, template: str, view: PageView) -> str:
        """Return a whole page, in its reader's language and zone."""
        return self._render(template, {"view": view}, view.shell.reader)

    def fragment(self, template: str, region: object, *, reader: Reader) -> str:
        """Return one region alone, exactly as the page that includes it would hold it."""
        return self._render(template, {"region": region}, reader)

    def partial(self, template: str, region: object, *, target: str, reader: Reader, swap: str = "outerMorph") -> str:
        """Return a region wrapped so that htmx puts it in place of `target` (an element id), whatever else the answer holds."""
        body = self.fragment(template, region, reader=reader)
        return f'<hx-partial hx-target="#{escape(target)}" hx-swap="{escape(swap)}">{body}</hx-partial>'

    def _render(self, template: str, context: Mapping[str, object], reader: Reader) -> str:
        token = _zone.set(reader.timezone)
        try:
            with i18n.use_language(reader.language):
                return self._environment.get_template(template).render(context)
        finally:
            _zone.reset(token)


def triggers(*, toast: str = "", level: ToastLevel = "success", close_dialog: str = "", open_dialog: str = "") -> str:
    """Return the value of an `HX-Trigger` header that shows a toast, closes a dialog and opens one (element ids), each if given.

    Headers are Latin-1 on the wire: everything else is escaped.
    """
    # The form that asked may be gone from the page when its answer arrives, so the events start at the body.
    events: dict[str, dict[str, str]] = {}
    if toast:
        events["toast"] = {"target": "body", "level": level, "text": toast}
    if close_dialog:
        events["dialog-close"] = {"target": "body", "id": close_dialog}
    if open_dialog:
        events["dialog-open"] = {"target": "body", "id": open_dialog}
    return json.dumps(events, ensure_ascii=True)


def _filters(now: Callable[[], datetime]) -> dict[str, Callable[..., object]]:
    language = i18n.current_language

    def dt(moment: datetime | None, style: str = "datetime") -> str:
        return formatters.dt(moment, style, zone=_zone.get(), language=language())

    return {
        "said": sentences.said,
        "price": lambda value, tick=None: formatters.price(value, tick, language=language()),
        "quantity": lambda value, step=None: formatters.quantity(value, step, language=language()),
        "money": lambda value, currency="", decimals=2: formatters.money(value, currency, decimals=decimals, language=language()),
        "signed": lambda value, currency="", decimals=2: formatters.signed(value, currency, decimals=decimals, language=language()),
        "pct": lambda value, decimals=2: formatters.pct(value, decimals=decimals, language=language()),
        "share": lambda value, decimals=2: formatters.share(value, decimals=decimals, language=language()),
        "seconds": lambda value: formatters.seconds(value, language=language()),
        "span": lambda value: formatters.span(value, language=language()),
        "took": lambda value: formatters.took(value, language=language()),
        "ago": lambda moment: formatters.ago(moment, now=now(), language=language()),
        "dt": dt,
        "time": lambda moment, style="datetime": _time(moment, dt(moment, style)),
        "label": labels.label,
        "tone": labels.tone,
        "trend": trend,
        "chart_fills": chart_fills,
        "chart_equity": chart_equity,
        "chart_lines": chart_lines,
        "chart_facts": chart_facts,
        "short": lambda value: formatters.short(value, language=language()),
        "compact": lambda value: formatters.compact(value, language=language()),
        "chart_flows": chart_flows,
    }


def _time(moment: datetime | None, text: str) -> Markup:
    if moment is None:
        return Markup(formatters.NONE)  # noqa: S704 — a constant
    iso = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(iso, text)


def trend(value: Decimal | None) -> str:
    """Return the class of a gain or a loss: up, down or flat."""
    if not value:
        return "flat"
    return "up" if value > 0 else "down"


def chart_fills(fills: Iterable[FillMark]) -> list[dict[str, object]]:
    """Return fills as the chart's script reads them, the same shape as the live `fill` event."""
    return [
        {"s": fill.symbol, "side": fill.side.value, "p": str(fill.price), "q": str(fill.quantity), "t": to_milliseconds(fill.time)}
        for fill in fills
    ]


def chart_equity(points: Iterable[EquityPoint]) -> list[dict[str, object]]:
    """Return the curve as the chart's script reads it, the same shape as the live `equity` event."""
    return [{"t": to_milliseconds(point.time), "v": str(point.value)} for point in points]


def chart_lines(lines: Iterable[ChartLine]) -> list[dict[str, object]]:
    """Return lines as the chart's script reads them, the same shape as the live `lines` event."""
    return [
        {
            "kind": line.kind,
            "id": line.id,
            "p": plain(line.price),
            "label": line.label,
            "side": line.side.value if line.side is not None else None,
            "movable": line.is_movable,
            "n": line.number,
        }
        for line in lines
    ]


def chart_facts(facts: MarketFacts) -> dict[str, str | None]:
    """Return what the chart's head says as its script reads it, the same shape as the live `market` event; None is not known."""
    names = ("last", "change", "high", "low", "volume", "turnover", "spread")
    return {name: None if (value := getattr(facts, name)) is None else plain(value) for name in names}


def chart_flows(marks: Iterable[FlowMark]) -> list[dict[str, object]]:
    """Return what came and went as the curve's script reads it."""
    return [{"t": to_milliseconds(mark.time), "v": str(mark.value)} for mark in marks]
