"""Shapes of the strategies' API."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.strategies.models import LONGEST_DESCRIPTION, LONGEST_NAME, LONGEST_NOTE, Origin, Strategy, StrategyVersion
from app.strategies.queries import Listed
from app.strategies.report import from_stored
from app.strategies.service import reason_against
from app.strategies.trial_schemas import ReportOut, Source

#: Signs that stand in no name: line ends, and those that turn the direction of writing round.
_PLAIN: Final = r"^[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NAME, pattern=_PLAIN)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_DESCRIPTION)]
Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_NOTE, pattern=_PLAIN)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StrategyIn(_In):
    """A new strategy, with a source or from a template; with neither from the blank one."""

    name: Name
    description: Description = ""
    source: Source | None = None
    template: Annotated[str | None, Field(max_length=60)] = None


class StrategyPatch(_In):
    """Changes to a strategy."""

    name: Name | None = None
    description: Description | None = None


class DraftIn(_In):
    """What stands in the editor. `revision` is that of the draft it was made from."""

    source: Source
    revision: Annotated[int, Field(ge=0, le=2**31 - 1)]


class VersionIn(_In):
    """A source to save as the next version; `draft_revision` is that of the draft it was made from."""

    source: Source
    note: Note = ""
    draft_revision: Annotated[int | None, Field(ge=0, le=2**31 - 1)] = None


class VersionPatch(_In):
    """Another note for a version that was not used."""

    note: Note


class ForkIn(_In):
    """Which version to make another strategy of, the newest if not given; without a name it is numbered."""

    number: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    name: Name | None = None


class ShareIn(_In):
    """Who gets a copy, and of which version: the newest if not given."""

    username: Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=60, pattern=r"^[A-Za-z0-9_.@-]+$")]
    number: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None


class StrategyOut(BaseModel):
    """A strategy in a list. `newest` is the number of its newest version, whose validity the next three tell."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    description: str
    exchange: str | None
    symbol: str | None
    timeframe: str | None
    origin: Origin
    origin_name: str | None
    origin_number: int | None
    created_at: datetime
    changed_at: datetime
    archived_at: datetime | None
    draft_revision: int
    has_draft: bool
    draft_saved_at: datetime | None
    newest: int
    is_valid: bool
    has_look_ahead: bool
    validated_at: datetime | None
    valid_number: int | None = Field(description="The newest version that may trade")
    is_used: bool = Field(description="Some version has been used: the strategy can be archived, not deleted")

    @classmethod
    def of(cls, row: Listed) -> "StrategyOut":
        """Return a strategy of the list."""
        return cls.model_validate(row)


class StrategyDetail(StrategyOut):
    """A strategy with what stands in the editor: the draft, or the newest version's source."""

    source: str

    @classmethod
    def with_source(cls, row: Listed, source: str) -> "StrategyDetail":
        """Return a strategy with a source."""
        return cls(**StrategyOut.of(row).model_dump(), source=source)


class StrategyPage(BaseModel):
    """Strategies, the one that was changed last first."""

    items: list[StrategyOut]
    next: str | None = None


class DraftOut(BaseModel):
    """The draft's revision; the next draft names it."""

    revision: int
    saved_at: datetime | None

    @classmethod
    def of(cls, strategy: Strategy) -> "DraftOut":
        """Return a strategy's draft."""
        return cls(revision=strategy.draft_revision, saved_at=strategy.draft_saved_at)


class VersionLine(BaseModel):
    """A version in a list."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    strategy_id: UUID
    number: int
    sha256: str
    note: str
    is_valid: bool
    has_look_ahead: bool
    validated_at: datetime | None
    first_used_at: datetime | None
    created_at: datetime


class VersionOut(VersionLine):
    """A version in full. `why_not` says why it cannot be activated."""

    source: str
    described: dict[str, Any] | None
    report: ReportOut | None
    why_not: str | None

    @classmethod
    def of(cls, version: StrategyVersion) -> "VersionOut":
        """Return a version in full."""
        report = None if version.report is None else ReportOut.of(from_stored(version.report))
        line = VersionLine.model_validate(version).model_dump()
        return cls(**line, source=version.source, described=version.described, report=report, why_not=reason_against(version))


class VersionPage(BaseModel):
    """Versions, the newest first; `next` is the number before which the next page goes on."""

    items: list[VersionLine]
    next: str | None


class SavedOut(VersionOut):
    """A saved version; `is_new` is false when the newest version had that source already."""

    is_new: bool


class DiffOut(BaseModel):
    """What differs from one version to another, as `diff -u` writes it."""

    old: int
    new: int
    added: int
    removed: int
    unified: str


class TemplateOut(BaseModel):
    """Something to begin a strategy with."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    title: str
    summary: str
    source: str


class TemplatePage(BaseModel):
    """All templates."""

    items: list[TemplateOut]
    next: str | None = None


class SharedOut(BaseModel):
    """The same whether somebody has that name or not."""

    detail: str
