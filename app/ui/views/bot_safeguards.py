"""The safeguards that all bots of a user keep together, and what of them has tripped."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.ui.views.safeguards import SafeguardForm
from app.ui.views.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class TripRow:
    """A safeguard that tripped, `is_all` for all bots of its owner; re-armed by hand. `words` says what was reached."""

    id: str
    rule: str
    words: str
    at: datetime
    action: Literal["suspend", "flatten"]
    is_all: bool = False
    rearmed_at: datetime | None = None
    rearmed_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTrips:
    """What has tripped for all bots and was not armed again, region of `fragments/bots/_user_trips.html`."""

    rows: tuple[TripRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSafeguardsView:
    """The page of the safeguards of all bots."""

    shell: Shell
    form: SafeguardForm = field(default_factory=lambda: SafeguardForm(scope="user"))
    trips: UserTrips = field(default_factory=UserTrips)
