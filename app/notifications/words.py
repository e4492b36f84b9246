"""What is said of notices outside: in the reader's language and time zone, one by one or many in a few lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.core.formatters import dt
from app.core.i18n import ngettext, use_language
from app.core.sentences import said_with
from app.notifications.kinds import Severity

#: Phones show a few lines; some services take 2,000 signs in all.
_MOST_LINES: Final = 12
_LONGEST_LINE: Final = 160
_LONGEST_BODY: Final = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """For whom it is said. `root` is this server's public address, empty when it has none."""

    language: str
    zone: str
    root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A notice as it is stored."""

    kind: str
    severity: Severity
    title: str
    text: str
    values: Mapping[str, Any]
    url: str | None
    at: datetime

    @staticmethod
    def of(row: Any) -> "Told":
        """Return a row of `notices`."""
        return Told(
            kind=row["kind"],
            severity=Severity(row["severity"]),
            title=row["title"],
            text=row["text"],
            values=row["values"],
            url=row["url"],
            at=row["at"],
        )


def spoken(sentence: str, values: Mapping[str, Any], reader: Reader) -> str:
    """Return a stored sentence as its reader says it; moments among its values in the reader's time zone."""
    words = {name: _value(value, reader) for name, value in values.items()}
    with use_language(reader.language):
        return said_with(sentence, words)


def _value(value: Any, reader: Reader) -> str:
    if isinstance(value, dict) and "at" in value:
        return moment(datetime.fromisoformat(value["at"]), reader)
    return str(value)


def moment(at: datetime, reader: Reader) -> str:
    """Return a moment with the zone it is told in."""
    return f"{dt(at, 'stamp', zone=reader.zone, language=reader.language)} ({reader.zone})"


def one(notice: Told, reader: Reader) -> tuple[str, str]:
    """Return title and body of one notice."""
    lines = [spoken(notice.text, notice.values, reader)[:_LONGEST_BODY], "", moment(notice.at, reader)]
    if notice.url is not None and reader.root:
        lines.append(reader.root.rstrip("/") + notice.url)
    return spoken(notice.title, notice.values, reader), "\n".join(lines)


def many(notices: Sequence[Told], reader: Reader) -> tuple[str, str]:
    """Return title and body of several notices, the gravest first; not each of them is told in full, but each is counted."""
    groups: dict[str, list[Told]] = {}
    for notice in notices:
        groups.setdefault(notice.kind, []).append(notice)
    with use_language(reader.language):
        if len(groups) == 1:
            title = ngettext("%(num)s more like this", "%(num)s more like this", len(notices)) % {"num": len(notices)}
            title = f"{title}: {spoken(notices[0].title, notices[0].values, reader)}"
        else:
            title = ngettext("%(num)s more notice", "%(num)s more notices", len(notices)) % {"num": len(notices)}
    share = max(_MOST_LINES // len(groups), 1)
    lines = []
    for group in list(groups.values())[:_MOST_LINES]:
        if len(groups) > 1:
            lines.append(f"{len(group)} × {spoken(group[0].title, group[0].values, reader)}")
        lines += [f"• {spoken(notice.text, notice.values, reader)[:_LONGEST_LINE]}" for notice in group[:share]]
        if len(group) > share:
            lines.append("…")
    lines += ["", moment(max(notice.at for notice in notices), reader)]
    if reader.root:
        lines.append(f"{reader.root.rstrip('/')}/notifications")
    return title, "\n".join(lines)[:_LONGEST_BODY]


def gravest(notices: Sequence[Told]) -> Severity:
    """Return the gravest severity among them."""
    return max((notice.severity for notice in notices), key=lambda severity: severity.rank)
