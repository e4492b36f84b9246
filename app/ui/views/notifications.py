"""The page of notifications: where a person is reached, how, what was sent; and the bell in every page."""

from dataclasses import dataclass, field
from datetime import datetime

from app.ui.views.shell import Choice, Region, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class KindChoice:
    """One kind of notice as a tick. `value` is its name, `label` in words."""

    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KindGroup:
    """Kinds that have something in common."""

    label: str
    kinds: tuple[KindChoice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldView:
    """One field of a service's form. What is secret never comes back: `value` is empty then."""

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    value: str = ""
    is_needed: bool = True
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetForm:
    """Fragment `_target_form.html`: a new target, or another address and other wishes of one.

    `target_id` is empty for a new one. `masked` is what is shown of the stored address; the fields may then stay empty.
    """

    target_id: str = ""
    name: str = ""
    service: str = "telegram"
    services: tuple[Choice, ...] = ()
    fields: tuple[FieldView, ...] = ()
    help: str = ""
    masked: str = ""
    severity: str = "info"
    severities: tuple[Choice, ...] = ()
    groups: tuple[KindGroup, ...] = ()
    is_default: bool = True
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRow:
    """A target. `last_state` is empty while nothing was sent there."""

    id: str
    name: str
    service: str
    masked: str
    is_enabled: bool
    severity: str
    kinds: str
    last_state: str = ""
    last_answer: str = ""
    last_at: datetime | None = None
    rest_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRow:
    """One message in the log."""

    at: datetime
    target: str
    service: str
    title: str
    covers: int
    is_test: bool
    state: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """A notice of the bell, in the reader's language."""

    id: str
    severity: str
    title: str
    text: str
    at: datetime
    has_page: bool
    is_unread: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BellList:
    """What opens beneath the bell. `newest` is the id up to which all can be marked as read."""

    rows: tuple[NoticeRow, ...] = ()
    unread: int = 0
    newest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietForm:
    """Fragment `_settings.html`: time zone, quiet hours, and what the bell shows."""

    timezone: str = "UTC"
    zones: tuple[str, ...] = ()
    quiet_from: str = ""
    quiet_until: str = ""
    severity: str = "error"
    severities: tuple[Choice, ...] = ()
    groups: tuple[KindGroup, ...] = ()
    is_default: bool = True
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadmanForm:
    """Fragment `_deadman.html`: the address that is called while all is well. `masked` is empty while there is none."""

    masked: str = ""
    minutes: int = 5
    tells_failure: bool = False
    at: datetime | None = None
    is_ok: bool | None = None
    answer: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationsView:
    """Page `notifications.html`."""

    shell: Shell
    targets: Region[PlaceRow]
    form: TargetForm
    settings: QuietForm
    deadman: DeadmanForm
    log: Region[SentRow]
