"""The library of strategies: the list, and the dialogs in which one is made, imported, shared and deleted."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.ui.views.shell import Choice, Region, Shell

#: What is known of a strategy's newest version.
Validity = Literal["valid", "look_ahead", "invalid", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyRow:
    """One strategy. `number` is its newest version; `valid_number` the newest that may trade, None when none may.

    `came_from` says where it comes from, in the reader's language; "" when they wrote it. `is_used`: it can be archived and not deleted.
    """

    id: str
    name: str
    number: int
    validity: Validity
    changed_at: datetime
    description: str = ""
    valid_number: int | None = None
    came_from: str = ""
    market: str = ""
    has_draft: bool = False
    is_archived: bool = False
    is_used: bool = False
    is_received: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyList(Region[StrategyRow]):
    """The list, region of `fragments/strategies/_list.html`. `others` is how many there are on the other side of the archive's door."""

    is_archive: bool = False
    search: str = ""
    others: int = 0
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateChoice:
    """Something to begin with."""

    value: str
    title: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyForm:
    """Fragment `_new.html`: a strategy to be made of a template."""

    templates: tuple[TemplateChoice, ...] = ()
    name: str = ""
    chosen: str = "blank"
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportForm:
    """Fragment `_import.html`: a strategy to be made of a file."""

    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareForm:
    """Fragment `_share.html`: who gets a copy of which version."""

    id: str
    name: str
    numbers: tuple[Choice, ...]
    number: str = ""
    username: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyQuestion:
    """Fragment `_delete.html`: the question before a strategy is deleted with its versions."""

    id: str
    name: str
    versions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategiesView:
    """The page of the library."""

    shell: Shell
    strategies: StrategyList
    form: StrategyForm
    file: ImportForm
