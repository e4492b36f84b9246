"""What may go wrong with telling people; the whole tree is drawn in the package."""

from app.errors.general import Conflict, InvalidInput, NotFound


class TargetNotFound(NotFound):
    """You have no such target."""

    default_code = "TARGET_NOT_FOUND"


class NoticeNotFound(NotFound):
    """You have no such notice."""

    default_code = "NOTICE_NOT_FOUND"


class TargetRefused(InvalidInput):
    """Nothing can be sent to that address."""

    default_code = "TARGET_REFUSED"


class TargetLimit(Conflict):
    """You have as many targets as one may have. Remove one first."""

    default_code = "TARGET_LIMIT"
