"""Pages outside the shell: login, registration, errors."""

from dataclasses import dataclass, field

from app.ui.views.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginView:
    """Page `pages/accounts/login.html`. `error` is a sentence for the person, already translated."""

    shell: Shell
    error: str = ""
    username: str = ""
    next: str = ""
    registration_open: bool = False


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
