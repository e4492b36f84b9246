"""The assistant beside the editor: what was said, who answers, and what it took."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

#: off: nobody answers; unchosen: it is not said which model does.
AssistantState = Literal["off", "unchosen", "ready"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantLine:
    """One message, region of `fragments/assistant/_message.html`.

    `text` is as it was written; the page's script makes paragraphs and blocks of it. `sentence` says why an answer failed, already
    translated; `is_own_doing`: the preferences are where to mend it. `proposal` is code that waits for a decision.
    """

    id: str
    strategy_id: str
    is_users: bool
    text: str
    said_at: datetime
    outcome: Literal["running", "done", "stopped", "failed", "interrupted"] = "done"
    sentence: str = ""
    is_own_doing: bool = False
    is_cut: bool = False
    proposal: str | None = None
    decision: Literal["none", "accepted", "rejected"] = "none"
    tokens: Decimal | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What a month's answers of one model took; `cost` in US dollars, None where none is named."""

    month: str
    model: str
    answers: int
    tokens: Decimal
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantUsage:
    """The last twelve months, region of `fragments/assistant/_usage.html`. `cost` is this month's, None where none is named."""

    rows: tuple[UsageRow, ...] = ()
    tokens: Decimal = Decimal(0)
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantContent:
    """What was said and how to ask, region of `fragments/assistant/_content.html`."""

    strategy_id: str
    state: AssistantState = "ready"
    provider: str = ""
    model: str = ""
    lines: tuple[AssistantLine, ...] = ()
    usage: AssistantUsage = field(default_factory=AssistantUsage)
    longest_question: int = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantPanel:
    """Region of `fragments/assistant/_panel.html`; without `content` the page fetches it once it has opened."""

    strategy_id: str
    content: AssistantContent | None = None
