"""What the page of notifications and the bell show, from what is stored."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from zoneinfo import available_timezones

from app.core.i18n import N_, gettext
from app.core.sentences import said
from app.notifications.forms import FORMS, Form
from app.notifications.kinds import GROUPS, KINDS, Severity
from app.notifications.models import NotificationSettings, NotificationTarget
from app.notifications.words import Reader, spoken
from app.ui.views import (
    BellList,
    Choice,
    DeadmanForm,
    FieldView,
    KindChoice,
    KindGroup,
    NoticeRow,
    PlaceRow,
    QuietForm,
    SentRow,
    TargetForm,
)

_SEVERITIES: Final = {
    Severity.INFO: N_("Everything"),
    Severity.WARNING: N_("Warnings and what is grave"),
    Severity.ERROR: N_("Only what is grave"),
}
#: Apprise's words for what people know by another name.
_NAMES: Final = {
    "tgram": "Telegram", "discord": "Discord", "mailto": "E-mail", "mailtos": "E-mail", "ntfy": "ntfy", "ntfys": "ntfy", "json": "JSON",
    "jsons": "JSON", "slack": "Slack", "pover": "Pushover", "gotify": "Gotify", "gotifys": "Gotify",
}  # fmt: skip
#: Which form an address was made by.
_FORM_OF: Final = {
    "tgram": "telegram", "discord": "discord", "mailto": "email", "mailtos": "email", "ntfy": "ntfy", "ntfys": "ntfy", "json": "webhook",
    "jsons": "webhook",
}  # fmt: skip


def service_name(service: str) -> str:
    """Return how people call a kind of place."""
    return _NAMES.get(service, service)


def masked(service: str, hint: str) -> str:
    """Return what is shown of an address: the service and its last signs."""
    return f"{service}://…{hint}"


def severities() -> tuple[Choice, ...]:
    """Return the severities as options."""
    return tuple(Choice(value=severity.value, label=gettext(words)) for severity, words in _SEVERITIES.items())


def groups_of(chosen: Sequence[str] | None) -> tuple[KindGroup, ...]:
    """Return all kinds in their groups, ticked as chosen; None ticks those that are on by default."""
    return tuple(
        KindGroup(
            label=gettext(label),
            kinds=tuple(
                KindChoice(
                    value=kind.value,
                    label=gettext(words.label),
                    is_chosen=words.is_default if chosen is None else kind.value in chosen,
                )
                for kind, words in KINDS.items()
                if words.group is group
            ),
        )
        for group, label in GROUPS.items()
    )


def form_for(
    target: NotificationTarget | None = None,
    *,
    service: str = "",
    given: Mapping[str, str] | None = None,
    name: str | None = None,
    severity: str | None = None,
    kinds: Sequence[str] | None = None,
    errors: dict[str, str] | None = None,
) -> TargetForm:
    """Return the form of a new target or of a stored one; what was given comes back, but for what is secret."""
    chosen = service or (_FORM_OF.get(target.service, "other") if target is not None else "telegram")
    form = FORMS.get(chosen, FORMS["telegram"])
    kept = kinds if kinds is not None else target.kinds if target is not None else None
    return TargetForm(
        target_id="" if target is None else str(target.id),
        name=name if name is not None else "" if target is None else target.name,
        service=form.name,
        services=tuple(Choice(value=one.name, label=gettext(one.label)) for one in FORMS.values()),
        fields=_fields(form, given or {}, is_stored=target is not None),
        help=gettext(form.help) if form.help else "",
        masked="" if target is None else masked(target.service, target.hint),
        severity=severity or ("info" if target is None else target.least_severity),
        severities=severities(),
        groups=groups_of(kept),
        is_default=kept is None,
        errors=errors or {},
    )


def _fields(form: Form, given: Mapping[str, str], *, is_stored: bool) -> tuple[FieldView, ...]:
    return tuple(
        FieldView(
            name=field.name,
            label=gettext(field.label),
            kind=field.kind,
            hint=field.hint,
            value="" if field.kind == "password" else given.get(field.name, "" if is_stored else field.default),
            is_needed=field.is_needed and not field.default,
            choices=tuple(Choice(value=value, label=gettext(label)) for value, label in field.choices),
        )
        for field in form.fields
    )


def target_row(target: NotificationTarget, latest: Any | None) -> PlaceRow:
    """Return a target with what came of the latest message to it."""
    return PlaceRow(
        id=str(target.id),
        name=target.name,
        service=service_name(target.service),
        masked=masked(target.service, target.hint),
        is_enabled=target.is_enabled,
        severity=gettext(_SEVERITIES[Severity(target.least_severity)]),
        kinds=_kinds(target.kinds),
        last_state="" if latest is None else latest["state"],
        last_answer="" if latest is None else said(latest["answer"]),
        last_at=None if latest is None else latest["started_at"],
        rest_until=target.rest_until,
    )


def _kinds(kinds: Sequence[str] | None) -> str:
    if kinds is None:
        return gettext("the usual kinds")
    return gettext("%(count)s kinds") % {"count": len(kinds)}


def attempt_row(row: Any) -> SentRow:
    """Return a row of the log."""
    return SentRow(
        at=row["started_at"],
        target=row["target_name"],
        service=service_name(row["service"]),
        title=row["title"],
        covers=row["covers"],
        is_test=row["is_test"],
        state=row["state"],
        answer=said(row["answer"]),
    )


def bell_list(rows: Sequence[Any], unread: int, reader: Reader) -> BellList:
    """Return the notices of the bell as their reader says them."""
    return BellList(
        rows=tuple(
            NoticeRow(
                id=str(row["id"]),
                severity=row["severity"],
                title=spoken(row["title"], row["values"], reader),
                text=spoken(row["text"], row["values"], reader),
                at=row["at"],
                has_page=row["url"] is not None,
                is_unread=row["read_at"] is None,
            )
            for row in rows
        ),
        unread=unread,
        newest=str(rows[0]["id"]) if rows else "",
    )


def quiet_form(stored: NotificationSettings, *, zone: str, errors: dict[str, str] | None = None) -> QuietForm:
    """Return the form of time zone, quiet hours and bell; `zone` is the browser's, offered to who has stored nothing yet."""
    return QuietForm(
        timezone=stored.timezone if stored.timezone != "UTC" or zone == "UTC" else zone,
        zones=tuple(sorted(available_timezones())),
        quiet_from=stored.quiet_from.strftime("%H:%M") if stored.quiet_from else "",
        quiet_until=stored.quiet_until.strftime("%H:%M") if stored.quiet_until else "",
        severity=stored.quiet_severity,
        severities=severities()[1:],
        groups=groups_of(stored.bell_kinds),
        is_default=stored.bell_kinds is None,
        errors=errors or {},
    )


def deadman_form(stored: NotificationSettings, *, errors: dict[str, str] | None = None) -> DeadmanForm:
    """Return the form of the dead-man's switch."""
    return DeadmanForm(
        masked=f"…{stored.deadman_hint}" if stored.deadman_url is not None else "",
        minutes=stored.deadman_minutes,
        tells_failure=stored.deadman_tells_failure,
        at=stored.deadman_at,
        is_ok=stored.deadman_ok,
        answer=said(stored.deadman_answer),
        errors=errors or {},
    )
