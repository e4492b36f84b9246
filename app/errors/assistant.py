"""Why the strategy assistant gives no answer; the whole tree is drawn in the package."""

import math

from app.errors.general import Conflict, NotFound, RateLimited, TooManyAttempts, UpstreamFailed


class AssistantOff(Conflict):
    """No AI provider is switched on. Choose one in your preferences."""

    default_code = "AI_OFF"


class ModelUnchosen(Conflict):
    """No model is chosen. Choose one in your preferences."""

    default_code = "AI_MODEL_UNCHOSEN"


class AssistantBusy(RateLimited):
    """The assistant is answering you already. Wait for the answer, or stop it."""

    default_code = "AI_BUSY"


class AssistantTooSoon(TooManyAttempts):
    """You have asked the assistant very often within a minute. Ask again in %(seconds)d seconds."""

    default_code = "AI_TOO_SOON"


class AlreadyDecided(Conflict):
    """What this answer proposed was accepted or rejected already, or it proposed nothing."""

    default_code = "AI_DECIDED"


class MessageNotFound(NotFound):
    """There is no such message of the assistant."""

    default_code = "AI_MESSAGE_NOT_FOUND"


class AssistantFailed(UpstreamFailed):
    """The provider answers with an error. Try again in a moment, or with another model."""

    default_code = "AI_FAILED"


class AiKeyRefused(AssistantFailed):
    """The provider does not take your key. Enter it anew in your preferences."""

    default_code = "AI_KEY_REFUSED"


class AiModelMissing(AssistantFailed):
    """The provider has no model of that name. Choose another in your preferences."""

    default_code = "AI_MODEL_MISSING"


class AiOutOfCredit(AssistantFailed):
    """Your credit with the provider is used up, or too small for an answer of this model. Add some there, or choose a cheaper model."""

    default_code = "AI_OUT_OF_CREDIT"


class AiForbidden(AssistantFailed):
    """The provider refuses to answer that. Ask in other words, or choose another model."""

    default_code = "AI_FORBIDDEN"


class AiTooLong(AssistantFailed):
    """The code and the conversation are longer than this model can read. Clear the conversation, or choose a model that reads more."""

    default_code = "AI_TOO_LONG"


class AiTooSlow(AssistantFailed):
    """The provider has said nothing for too long. Try again, or choose a faster model."""

    default_code = "AI_TOO_SLOW"


class AiUnreachable(AssistantFailed):
    """The provider cannot be reached. Is it running, and is its address right?"""

    default_code = "AI_UNREACHABLE"


class AiUnreadable(AssistantFailed):
    """The provider's answer cannot be read. Is its address right?"""

    default_code = "AI_UNREADABLE"


class AiRateLimited(AssistantFailed):
    """The provider is asked too often, or is overloaded. Try again in %(seconds)d seconds."""

    default_code = "AI_RATE_LIMITED"

    def __init__(self, *, retry_after_s: float = 30.0) -> None:
        super().__init__((type(self).__doc__ or "") % {"seconds": math.ceil(retry_after_s)})
        self.retry_after_s = retry_after_s
