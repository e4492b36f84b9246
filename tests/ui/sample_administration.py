"""Administration and API tokens, with awkward values in them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.ui import views

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
DAYS = (views.Choice(value="7", label="7 days"), views.Choice(value="90", label="90 days"))


def token_form() -> views.TokenForm:
    """The form after nothing was chosen, for an administrator."""
    scopes = tuple(views.Choice(value=word, label=f"{word}: what it may") for word in ("read", "trade", "admin"))
    return views.TokenForm(scopes=scopes, days=DAYS, name="grafana", chosen=(), errors={"scopes": "Choose at least one.", "": "Not made."})


def token_made() -> views.TokenMade:
    """A new token."""
    return views.TokenMade(
        name="grafana <b>", token="arb_" + "0123abcd" * 8, curl="curl -H 'Authorization: Bearer …' http://host/api/orders"
    )


def tokens() -> views.Region[views.TokenRow]:
    """One in use, one that has expired."""
    return views.Region(
        rows=(
            views.TokenRow(
                id="k1",
                name="grafana <script>alert(1)</script>",
                scopes=("read",),
                created_at=NOW - timedelta(days=3),
                expires_at=NOW + timedelta(days=87),
                last_used_at=NOW - timedelta(minutes=2),
            ),
            views.TokenRow(id="k2", name="bot", scopes=("read", "trade"), created_at=NOW, expires_at=NOW, is_expired=True),
        )
    )


def users() -> views.UserList:
    """Whoever looks, another administrator, and somebody who is disabled; more follow."""
    rows = (
        views.UserRow(id="u1", name="admin", email="", created_at=NOW, last_seen_at=NOW, is_admin=True, is_me=True),
        views.UserRow(id="u2", name="deputy", email="deputy@example.org", created_at=NOW, last_seen_at=NOW, is_admin=True),
        views.UserRow(
            id="u3", name="a-name-of-sixty-letters-" * 2, email="somebody.with.a.long.address@example.org", created_at=NOW, is_active=False
        ),
    )
    return views.UserList(rows=rows, next="/admin/users?after=u3", is_first=False)


def invitations() -> views.InvitationList:
    """One that waits, one that was used, one too old."""
    until = NOW + timedelta(days=7)
    return views.InvitationList(
        rows=(
            views.InvitationRow(id="i1", note="for Joe <b>", made_by="admin", created_at=NOW, expires_at=until),
            views.InvitationRow(id="i2", note="", made_by="admin", created_at=NOW, expires_at=until, used_by="joe", used_at=NOW),
            views.InvitationRow(id="i3", note="for Ann", made_by="", created_at=NOW, expires_at=NOW, is_expired=True),
        )
    )


def log() -> views.AccountLog:
    """A login, a login that was refused, and a change; older ones follow."""
    agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
    rows = (
        views.LogRow(
            number=3,
            at=NOW,
            name="admin",
            action="broker_changed",
            result="done",
            object="broker:0190a7b2-77aa-7d10-8a4e-1c2d3e4f5a6b",
            detail="name: Main · changed: api_key, api_secret",
            ip_address="2001:db8:85a3::8a2e:370:7334",
            user_agent=agent,
        ),
        views.LogRow(number=2, at=NOW, name="", action="login", result="refused", ip_address="203.0.113.9", user_agent="=cmd <b>"),
        views.LogRow(number=1, at=NOW, name="admin", action="login", result="done"),
    )
    return views.AccountLog(
        rows=rows,
        actions=(views.Choice(value="login", label="Administrator's rights taken"),),
        action="login",
        next="/admin/log?action=login&before=1",
    )


def invitation_form() -> views.InvitationForm:
    """The form after a note that was too long."""
    return views.InvitationForm(days=DAYS, note="x" * 40, errors={"note": "Too long.", "": "Not made."})


def tokens_page(shell: views.Shell) -> views.TokensView:
    """API tokens."""
    return views.TokensView(shell=shell, form=token_form(), tokens=tokens())


def jail() -> views.JailPanel:
    """Level B: landlock is missing, and one attack ended in a way that nobody knows."""
    rows = (
        views.JailFinding(code="seccomp", words="The kernel filters system calls (seccomp)", is_good=True),
        views.JailFinding(code="landlock", words="The kernel denies files and connections (landlock)", is_good=False, detail="ABI 0"),
        views.JailFinding(code="attack_fork", words="Attack: start a process", is_good=False, detail="not stopped: <b>breach</b>"),
    )
    return views.JailPanel(level="B", words="Behind one wall of the kernel.", is_open=True, findings=rows, workers=3, restarts=1)


def admin_page(shell: views.Shell) -> views.AdminView:
    """Administration, as an administrator sees it."""
    shell = replace(shell, is_admin=True)
    return views.AdminView(shell=shell, users=users(), invitations=invitations(), form=invitation_form(), jail=jail(), log=log())


def own_log_page(shell: views.Shell) -> views.OwnLogView:
    """One's own part of the log."""
    return views.OwnLogView(shell=shell, log=replace(log(), address="/account/log", is_own=True))


def fragments() -> dict[str, object]:
    """Every fragment of administration: template → region."""
    return {
        "fragments/accounts/_tokens.html": tokens(),
        "fragments/accounts/_token_form.html": token_form(),
        "fragments/accounts/_token_made.html": token_made(),
        "fragments/admin/_users.html": users(),
        "fragments/admin/_user_questions.html": users().rows[1],
        "fragments/admin/_invitations.html": invitations(),
        "fragments/admin/_invitation_form.html": invitation_form(),
        "fragments/admin/_invitation_made.html": views.InvitationLink(note="for Joe <b>", url="http://host/register?invite=" + "x" * 43),
        "fragments/admin/_jail.html": jail(),
        "fragments/admin/_log.html": log(),
    }
