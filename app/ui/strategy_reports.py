"""What was found of texts that no version has yet: a text that is saved after it was validated is a valid version at once."""

from collections import OrderedDict
from typing import Final
from uuid import UUID

from app.strategies.report import Report

_REMEMBERED: Final = 200


class RecentReports:
    """Whole reports of users' texts, the last few of this process. With several processes behind a balancer some are validated anew."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[UUID, str], Report] = OrderedDict()

    def keep(self, user_id: UUID, report: Report) -> None:
        """Remember the report of a user's text."""
        self._kept[user_id, report.sha256] = report
        self._kept.move_to_end((user_id, report.sha256))
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)

    def of(self, user_id: UUID, sha256: str) -> Report | None:
        """Return the report of a user's text by its digest; None when there is none."""
        return self._kept.get((user_id, sha256))
