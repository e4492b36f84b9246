"""Notifications, with awkward values in them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.ui import views

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_SEVERITIES = (
    views.Choice(value="info", label="Everything"),
    views.Choice(value="warning", label="Warnings and what is grave"),
    views.Choice(value="error", label="Only what is grave"),
)
_GROUPS = (
    views.KindGroup(
        label="Orders and positions",
        kinds=(
            views.KindChoice(value="order_lost", label="An order was lost track of", is_chosen=True),
            views.KindChoice(value="order_filled", label="An order was filled", is_chosen=False),
        ),
    ),
    views.KindGroup(label="Bots", kinds=(views.KindChoice(value="bot_faulted", label="A bot's strategy failed", is_chosen=True),)),
)


def targets() -> views.Region[views.PlaceRow]:
    """One that works, one that does not, one that was never used."""
    well = views.PlaceRow(
        id="t1",
        name="Telegram <b>of Dominique</b>",
        service="Telegram",
        masked="tgram://…4567",
        is_enabled=True,
        severity="Everything",
        kinds="the usual kinds",
        last_state="sent",
        last_answer="It answers 200 OK.",
        last_at=NOW - timedelta(minutes=3),
    )
    broken = replace(
        well,
        id="t2",
        name="Mail",
        last_state="failed",
        last_answer="It answers 535: Authentication failed, <i>see</i> https://a.example/" + "x" * 80,
    )
    return views.Region(rows=(well, broken, replace(well, id="t3", name="New", is_enabled=False, last_at=None, last_state="")))


def target_form() -> views.TargetForm:
    """A change of a stored one with a mistake in it."""
    return views.TargetForm(
        target_id="t1",
        name='A "name"',
        service="email",
        services=(views.Choice(value="telegram", label="Telegram"), views.Choice(value="email", label="E-mail")),
        fields=(
            views.FieldView(name="host", label="Mail server (SMTP)", hint="smtp.example.org", value="smtp.example.org/"),
            views.FieldView(name="port", label="Port", kind="number", value="587", is_needed=False),
            views.FieldView(
                name="mode",
                label="Encryption",
                value="ssl",
                choices=(views.Choice(value="starttls", label="STARTTLS"), views.Choice(value="ssl", label="TLS")),
            ),
            views.FieldView(name="password", label="Password", kind="password", is_needed=False),
        ),
        help="Many providers want an app password here, and not the one you log in with.",
        masked="mailtos://…x.io",
        severities=_SEVERITIES,
        groups=_GROUPS,
        is_default=False,
        errors={"host": "This is the name of a server alone, such as smtp.example.org.", "": "Not stored."},
    )


def quiet_form() -> views.QuietForm:
    """With one end of the night missing."""
    return views.QuietForm(
        timezone="Europe/Paris",
        zones=("Europe/Paris", "UTC"),
        quiet_from="22:00",
        severities=_SEVERITIES[1:],
        groups=_GROUPS,
        errors={"quiet_until": "Quiet hours need both ends, or neither."},
    )


def deadman_form() -> views.DeadmanForm:
    """One that keeps silent."""
    return views.DeadmanForm(
        masked="…4f2a",
        minutes=10,
        at=NOW - timedelta(minutes=2),
        is_ok=False,
        answer="Not called: market data is not fresh",
        errors={"url": "No."},
    )


def log() -> views.Region[views.SentRow]:
    """One of each state."""
    row = views.SentRow(
        at=NOW,
        target="Telegram <b>",
        service="Telegram",
        title="An order was lost track of",
        covers=1,
        is_test=False,
        state="sent",
        answer="",
    )
    return views.Region(
        rows=(
            row,
            replace(row, is_test=True, state="failed", answer="It answers 401 Unauthorized: " + "y" * 200),
            replace(row, covers=17, title="17 more like this: An order was filled", state="limited"),
            replace(row, state="unknown"),
            replace(row, state="sending"),
        )
    )


def bell_list() -> views.BellList:
    """Two unread and one that was read."""
    row = views.NoticeRow(
        id="n1",
        severity="error",
        title="A position lost its stop",
        text="The stop of BTC/USDT is gone. <b>" + "z" * 90,
        at=NOW - timedelta(minutes=1),
        has_page=True,
        is_unread=True,
    )
    return views.BellList(
        rows=(row, replace(row, id="n2", severity="warning"), replace(row, id="n3", severity="info", is_unread=False)),
        unread=2,
        newest="n1",
    )


def page(shell: views.Shell) -> views.NotificationsView:
    """All of it."""
    return views.NotificationsView(
        shell=replace(shell, bell=views.BellView(unread=100)),
        targets=targets(),
        form=replace(target_form(), target_id="", masked="", errors={}),
        settings=quiet_form(),
        deadman=deadman_form(),
        log=log(),
    )


def fragments() -> dict[str, object]:
    """Every fragment: template → region."""
    return {
        "fragments/notifications/_targets.html": targets(),
        "fragments/notifications/_target_form.html": target_form(),
        "fragments/notifications/_settings.html": quiet_form(),
        "fragments/notifications/_deadman.html": deadman_form(),
        "fragments/notifications/_log.html": log(),
        "fragments/shell/_bell_count.html": views.BellView(unread=3),
        "fragments/shell/_bell_list.html": bell_list(),
    }
