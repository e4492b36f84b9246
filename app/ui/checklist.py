"""What a newcomer has still to do."""

from typing import Final
from uuid import UUID

from app.core.db import Database
from app.core.i18n import N_, gettext
from app.ui.views import ChecklistStep

_CHECKLIST: Final = """
SELECT EXISTS (SELECT 1 FROM brokers WHERE user_id = $1 AND removed_at IS NULL) AS broker,
       EXISTS (SELECT 1 FROM brokers WHERE user_id = $1 AND removed_at IS NULL AND last_connection_success) AS tested,
       EXISTS (SELECT 1 FROM webhooks WHERE user_id = $1 AND removed_at IS NULL) AS webhook,
       EXISTS (SELECT 1 FROM orders WHERE user_id = $1) AS ordered
"""
_STEPS: Final = (
    (
        "broker",
        N_("Add a broker account"),
        N_("Your account at an exchange, with an API key that can trade but not withdraw."),
        "/brokers",
        N_("Add"),
    ),
    ("tested", N_("Test its connection"), N_("Aristobot asks for the balance with your key."), "/brokers", N_("Test")),
    ("webhook", N_("Make a webhook"), N_("An address of your own that TradingView sends its alerts to."), "/webhooks", N_("Make")),
    ("ordered", N_("Send a first alert"), N_("Post a message to the webhook and watch it become an order here."), "/webhooks", N_("How")),
)


async def checklist_of(database: Database, user_id: UUID) -> tuple[ChecklistStep, ...]:
    """Return the steps; none once all are done."""
    async with database.connection() as connection:
        done = await connection.fetchrow(_CHECKLIST, user_id)
    if all(done.values()):
        return ()
    return tuple(
        ChecklistStep(title=gettext(title), text=gettext(words), is_done=done[name], href=href, action=gettext(action))
        for name, title, words, href, action in _STEPS
    )
