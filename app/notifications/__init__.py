"""Telling people what happened: the bell in every page, and the messengers, mail and addresses that they name.

Any package above may call `put` inside its own transaction; nothing is sent there.
"""

from app.notifications.kinds import NoticeKind as NoticeKind
from app.notifications.kinds import Severity as Severity
from app.notifications.notices import Notice as Notice
from app.notifications.notices import put as put
from app.notifications.notices import who_wants as who_wants
