"""Pages outside the shell (login, registration, errors), and a person's own account."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.ui.views.shell import Region, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginView:
    """Page `pages/accounts/login.html`. `error` is a sentence for the person, already translated."""

    shell: Shell
    error: str = ""
    username: str = ""
    next: str = ""
    registration_open: bool = False
    #: Whether development mode is on; None where it is not offered.
    development: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterView:
    """Page `pages/accounts/register.html`. `errors` maps a field's name to a sentence; "" is the form itself."""

    shell: Shell
    username: str = ""
    email: str = ""
    invite: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorView:
    """Page `pages/errors/error.html`. `message` is the error's own sentence, safe to show; never a trace."""

    shell: Shell
    status: int
    message: str = ""
    code: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeView:
    """Page `pages/accounts/code.html`: the second step of logging in. `challenge` says that the password was right."""

    shell: Shell
    challenge: str
    next: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordForm:
    """Fragment `_password.html`. `errors` maps a field's name to a sentence."""

    username: str
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorForm:
    """Fragment `_second_factor.html`. `step` is what the person sees; `secret` and `picture` (a data address) only while enrolling."""

    step: Literal["off", "enrolling", "on"] = "off"
    recovery_codes: int = 0
    secret: str = ""
    picture: str = ""
    #: Just made, shown this once.
    codes: tuple[str, ...] = ()
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A login that works now. `device` is the browser's own name for itself, or empty."""

    id: str
    device: str
    ip_address: str
    created_at: datetime
    last_seen_at: datetime
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """Page `pages/accounts/account.html`."""

    shell: Shell
    password: PasswordForm
    factor: FactorForm
    sessions: Region[SessionRow]
