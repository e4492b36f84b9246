"""The library's regions, read from the database."""

from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.i18n import gettext
from app.strategies import queries
from app.strategies.models import Origin
from app.strategies.queries import Listed
from app.strategies.templates import templates
from app.ui.views import StrategyForm, StrategyList, StrategyRow, TemplateChoice, Validity

#: As many as a user may have are read at once; what is more than a page shows is found by searching.
_MOST_ROWS: Final = 100


async def strategy_list(session: AsyncSession, user_id: UUID, *, is_archive: bool = False, search: str = "") -> StrategyList:
    """Return the user's strategies, in the reader's language."""
    search = "".join(sign for sign in search if sign.isprintable())[:100].strip()
    rows = await queries.list_strategies(session, user_id, is_archived=is_archive, search=search, limit=_MOST_ROWS + 1)
    current, archived = await queries.counts(session, user_id)
    return StrategyList(
        rows=tuple(strategy_row(row) for row in rows[:_MOST_ROWS]),
        is_archive=is_archive,
        search=search,
        others=current if is_archive else archived,
        is_cut=len(rows) > _MOST_ROWS,
    )


def strategy_row(row: Listed) -> StrategyRow:
    """Return one line of the list."""
    return StrategyRow(
        id=str(row.id),
        name=row.name,
        description=row.description,
        number=row.newest,
        validity=validity_of(row),
        valid_number=row.valid_number,
        changed_at=row.changed_at,
        came_from=came_from(row.origin, row.origin_name, row.origin_number),
        market=" ".join(word for word in (row.symbol, row.timeframe) if word),
        has_draft=row.has_draft,
        is_archived=row.archived_at is not None,
        is_used=row.is_used,
        is_received=row.origin == Origin.SHARED and row.changed_at == row.created_at,
    )


def validity_of(row: Listed) -> Validity:
    """Return what is known of the newest version."""
    if row.is_valid:
        return "valid"
    if row.has_look_ahead:
        return "look_ahead"
    return "unknown" if row.validated_at is None else "invalid"


def came_from(origin: str, name: str | None, number: int | None) -> str:
    """Return where a strategy comes from, in the reader's language; "" when its owner wrote it."""
    values = {"name": name or "", "number": number or 1}
    match origin:
        case Origin.TEMPLATE:
            titles = {one.name: one.title for one in templates()}
            return gettext("from the template %(name)s") % {"name": gettext(titles.get(name or "", name or ""))}
        case Origin.IMPORTED:
            return gettext("imported from %(name)s") % values if name else gettext("imported")
        case Origin.FORKED:
            return gettext("forked from %(name)s, version %(number)s") % values
        case Origin.SHARED:
            return gettext("shared by %(name)s") % values
        case _:
            return ""


def strategy_form(*, name: str = "", chosen: str = "blank", errors: dict[str, str] | None = None) -> StrategyForm:
    """Return the form of a new strategy with all templates."""
    found = (TemplateChoice(value=one.name, title=gettext(one.title), summary=gettext(one.summary)) for one in templates())
    return StrategyForm(templates=tuple(found), name=name, chosen=chosen, errors=errors or {})


def on_one_line(text: str) -> str:
    """Return what was typed without line ends and other signs that are not seen, or that turn the direction of writing round."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
