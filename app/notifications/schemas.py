"""Shapes of the notifications API. No address comes back out of it."""

from datetime import datetime, time
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.notifications.kinds import NoticeKind, Severity
from app.notifications.models import AttemptState

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
FieldName = Annotated[str, Field(max_length=40)]
Values = Annotated[dict[FieldName, Annotated[str, Field(max_length=1000)]], Field(max_length=20)]
Kinds = Annotated[
    list[NoticeKind] | None, Field(max_length=100, description="What is sent there; null takes the kinds that are on by default.")
]


class TargetIn(BaseModel):
    """A new target. `fields` are those of its service (`GET /api/notifications/services`)."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    service: Annotated[str, Field(max_length=40)]
    fields: Values
    is_enabled: bool = True
    least_severity: Severity = Severity.INFO
    kinds: Kinds = None


class TargetPatch(BaseModel):
    """Changes to a target. A new address takes `service` and `fields` together."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    service: Annotated[str, Field(max_length=40)] | None = None
    fields: Values | None = None
    is_enabled: bool | None = None
    least_severity: Severity | None = None
    kinds: Kinds = None


class TargetOut(BaseModel):
    """A target; of its address the service and the last signs are shown."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    service: str
    hint: str
    is_enabled: bool
    least_severity: Severity
    kinds: list[str] | None
    created_at: datetime
    rest_until: datetime | None


class TargetPage(BaseModel):
    """A user's targets."""

    items: list[TargetOut]


class TestOut(BaseModel):
    """What came of a test. `answer` is in the user's language."""

    __test__ = False  # of no concern to pytest

    is_sent: bool
    answer: str


class AttemptOut(BaseModel):
    """One message sent to a target, or tried. `covers`: how many notices it told of."""

    id: UUID
    target_id: UUID | None
    target_name: str
    service: str
    is_test: bool
    severity: Severity
    title: str
    covers: int
    state: AttemptState
    answer: str
    started_at: datetime
    ended_at: datetime | None

    @staticmethod
    def of(row: Any, answer: str) -> "AttemptOut":
        """Return a row of the log with its answer in words."""
        return AttemptOut(**{**dict(row), "answer": answer})


class AttemptPage(BaseModel):
    """A page of the log, newest first. `next_cursor` is None on the last one."""

    items: list[AttemptOut]
    next_cursor: str | None


class NoticeOut(BaseModel):
    """A notice of the bell, in the user's language."""

    id: UUID
    kind: str
    severity: Severity
    title: str
    text: str
    url: str | None
    at: datetime
    read_at: datetime | None


class NoticePage(BaseModel):
    """A page of the bell, newest first. `unread` counts all, 100 at most."""

    items: list[NoticeOut]
    unread: int
    next_cursor: str | None


class ReadIn(BaseModel):
    """Mark the notices of the bell as read: all, or those up to `until`."""

    model_config = ConfigDict(extra="forbid")

    until: UUID | None = None


class SettingsIn(BaseModel):
    """How the user wants to be told. `quiet_from` and `quiet_until` are local times; both null: there are no quiet hours."""

    model_config = ConfigDict(extra="forbid")

    timezone: Annotated[str, Field(max_length=60)] = "UTC"
    quiet_from: time | None = None
    quiet_until: time | None = None
    quiet_severity: Severity = Severity.ERROR
    bell_kinds: Kinds = None


class DeadmanIn(BaseModel):
    """A dead-man's switch. `url` null leaves the stored one, an empty one takes it away."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(max_length=500)] | None = None
    minutes: Annotated[int, Field(ge=1, le=1440)] = 5
    tells_failure: bool = False


class SettingsOut(BaseModel):
    """How the user is told. Of the switch's address the last signs are shown."""

    model_config = ConfigDict(from_attributes=True)

    timezone: str
    quiet_from: time | None
    quiet_until: time | None
    quiet_severity: Severity
    bell_kinds: list[str] | None
    deadman_hint: str
    deadman_minutes: int
    deadman_tells_failure: bool
    deadman_at: datetime | None
    deadman_ok: bool | None
    deadman_answer: str


class ServiceField(BaseModel):
    """One field of a service."""

    name: str
    label: str
    is_needed: bool
    default: str
    choices: list[str]


class ServiceOut(BaseModel):
    """A service and what it needs to be named."""

    name: str
    label: str
    fields: list[ServiceField]


class KindOut(BaseModel):
    """A kind of notice. `is_default`: told unless somebody chose otherwise."""

    name: NoticeKind
    label: str
    group: str
    is_default: bool


class ServicePage(BaseModel):
    """What a target can be, and what it can be told."""

    services: list[ServiceOut]
    kinds: list[KindOut]
