"""Places at which this process can be made to die as if the power had failed, to prove that nothing is lost or doubled by it.

Armed by ARISTOBOT_CRASH in the environment or by `arm`, once; without that a place costs one comparison. Source of the places:
docs/architecture.md, an alert's way.
"""

import os
import signal
from typing import Final

#: Before the inbox row is committed, and after, before the answer · before an intent's commit, and after · after the claim · after the
#: exchange's reply · after its commit, before anybody is told.
POINTS: Final = ("P_INBOX_BEFORE", "P_INBOX_AFTER", "P0", "P1", "P2", "P4", "P5")
#: After a notice was handed on, before that is written down.
NOTICE_POINT: Final = "P6"
#: After a message was answered by the messenger it went to, before that is written down.
MESSAGE_POINT: Final = "P7"
#: Of a bot's decision: before it is written down · before its order is handed over, and after.
BOT_POINTS: Final = ("B0", "B1", "B2")
VARIABLE: Final = "ARISTOBOT_CRASH"

_armed: str | None = os.environ.get(VARIABLE)


def arm(point: str | None) -> None:
    """Let the process die at `point` when it next comes there; None disarms."""
    global _armed  # one process, one place to die
    _armed = point


def reach(point: str) -> None:
    """Die here if this is the armed point: SIGKILL, so that nothing is closed, flushed or said."""
    if _armed is not None and _armed == point:
        os.kill(os.getpid(), signal.SIGKILL)
