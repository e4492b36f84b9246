"""Examples of a person's own account, and of the second step of logging in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.ui import views
from app.ui.templating import PageView
from tests.ui import sample_administration, sample_heartbeat, sample_notifications, sample_preferences, sample_symbols

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_PICTURE = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4="


def sessions() -> views.Region[views.SessionRow]:
    """This login and one with an awkward name."""
    here = views.SessionRow(
        id="s1",
        device="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
        ip_address="2001:db8:85a3:8d3:1319:8a2e:370:7348",
        created_at=NOW - timedelta(hours=3),
        last_seen_at=NOW,
        is_current=True,
    )
    return views.Region(
        rows=(here, replace(here, id="s2", device="<b>curl</b>", ip_address="", is_current=False), replace(here, id="s3", device=""))
    )


def account(shell: views.Shell) -> views.AccountView:
    """An account without a second factor."""
    return views.AccountView(shell=shell, password=views.PasswordForm(username="dominique"), factor=views.FactorForm(), sessions=sessions())


def pages(made: Callable[..., views.Shell], stranger: views.Shell, *, language: str) -> dict[str, tuple[str, PageView]]:
    """Pages of an account, of the administration and of symbols: name → (template, view)."""
    shell, admin = (made(page=name, language=language) for name in ("account", "admin"))
    codes = tuple(f"abcd{number}-efgh{number}" for number in range(10))
    enrolling = views.FactorForm(step="enrolling", secret="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", picture=_PICTURE, errors={"code": "Wrong."})
    guarded = views.FactorForm(step="on", recovery_codes=10, codes=codes, errors={"code": "The code is wrong, or it was used before."})
    page = "pages/accounts/account.html"
    return sample_preferences.pages(made, language=language) | {
        "account": (page, account(shell)),
        "tokens": ("pages/accounts/tokens.html", sample_administration.tokens_page(shell)),
        "notifications": ("pages/accounts/notifications.html", sample_notifications.page(shell)),
        "own-log": ("pages/accounts/log.html", sample_administration.own_log_page(shell)),
        "admin": ("pages/admin/admin.html", sample_administration.admin_page(admin)),
        **sample_symbols.pages(made(page="symbols", language=language)),
        **sample_heartbeat.pages(made(page="heartbeat", language=language)),
        "account-enrolling": (page, replace(account(shell), factor=enrolling)),
        "account-guarded": (page, replace(account(shell), factor=guarded)),
        "code": ("pages/accounts/code.html", views.CodeView(shell=stranger, challenge="c.h.a", error="The code is wrong.")),
    }


def fragments() -> dict[str, object]:
    """Fragments of an account, of the administration and of symbols: template → region."""
    enrolling = views.FactorForm(step="enrolling", secret="JBSWY3DPEHPK3PXP", picture=_PICTURE)
    return (
        sample_preferences.fragments()
        | sample_administration.fragments()
        | sample_symbols.fragments()
        | sample_heartbeat.fragments()
        | sample_notifications.fragments()
        | {
            "fragments/accounts/_password.html": views.PasswordForm(
                username="d", errors={"password": "Too short.", "current_password": "Wrong."}
            ),
            "fragments/accounts/_second_factor.html": views.FactorForm(step="on", recovery_codes=1),
            "fragments/accounts/_second_factor_begin.html": enrolling,
            "fragments/accounts/_sessions.html": sessions(),
            "fragments/shell/_fresh_code.html": views.FreshCodeForm(error="The code is wrong, or it was used before."),
        }
    )
