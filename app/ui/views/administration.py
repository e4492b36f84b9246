"""API tokens on the account page, and the pages of administration."""

from dataclasses import dataclass, field
from datetime import datetime

from app.ui.views.shell import Choice, Region, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """One API token; `scopes` are words of the reader's language, `last_used_at` is None before the first use."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    is_expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenForm:
    """The form for a new token, region of `fragments/accounts/_token_form.html`. `scopes` are those that may be chosen."""

    scopes: tuple[Choice, ...]
    days: tuple[Choice, ...]
    name: str = ""
    chosen: tuple[str, ...] = ("read",)
    expires_in_days: str = "90"
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMade:
    """A new token, shown once, region of `fragments/accounts/_token_made.html`."""

    name: str
    token: str
    curl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensView:
    """Page `pages/accounts/tokens.html`."""

    shell: Shell
    form: TokenForm
    tokens: Region[TokenRow] = field(default_factory=Region)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """One user as administrators see them; `is_me` is whoever looks, who cannot disable themself."""

    id: str
    name: str
    email: str
    created_at: datetime
    last_seen_at: datetime | None = None
    is_admin: bool = False
    is_active: bool = True
    is_me: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserList:
    """A page of users, region of `fragments/admin/_users.html`. `next` is the address of the next page, "" on the last."""

    rows: tuple[UserRow, ...]
    next: str = ""
    is_first: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationRow:
    """One invitation; `used_by` is a name, "" while nobody has used it."""

    id: str
    note: str
    made_by: str
    created_at: datetime
    expires_at: datetime
    used_by: str = ""
    used_at: datetime | None = None
    is_expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationList:
    """Invitations, region of `fragments/admin/_invitations.html`. `is_taken` says whether this server takes any."""

    rows: tuple[InvitationRow, ...]
    is_taken: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationForm:
    """The form for an invitation, region of `fragments/admin/_invitation_form.html`."""

    days: tuple[Choice, ...]
    note: str = ""
    expires_in_days: str = "7"
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationLink:
    """The link of a new invitation, shown once, region of `fragments/admin/_invitation_made.html`."""

    note: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """One entry of the audit log; `name` is "" where nobody known asked."""

    number: int
    at: datetime
    name: str
    action: str
    result: str
    object: str = ""
    detail: str = ""
    ip_address: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLog:
    """A page of the audit log, region of `fragments/admin/_log.html`. `next` is the address of the next page, "" on the last."""

    rows: tuple[LogRow, ...]
    actions: tuple[Choice, ...]
    address: str = "/admin/log"
    action: str = ""
    next: str = ""
    export: str = "/api/admin/audit/export"
    is_own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLogView:
    """Page `pages/accounts/log.html`."""

    shell: Shell
    log: AccountLog


@dataclass(frozen=True, slots=True, kw_only=True)
class JailFinding:
    """One thing that the jail's doctor looked at, in the reader's language; `detail` is the doctor's own."""

    code: str
    words: str
    is_good: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JailPanel:
    """How strategies are locked in, region of `fragments/admin/_jail.html`. No `level`: nobody has looked yet, or `problem` says why."""

    level: str = ""
    words: str = ""
    problem: str = ""
    is_open: bool = False
    is_forced: bool = False
    findings: tuple[JailFinding, ...] = ()
    workers: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminView:
    """Page `pages/admin/admin.html`."""

    shell: Shell
    users: UserList
    invitations: InvitationList
    form: InvitationForm
    jail: JailPanel
    log: AccountLog
