"""Examples of the assistant's panel: a conversation with every ending in it, nobody to answer, no model chosen, and nothing said yet."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from app.ui import views

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
STRATEGY = "01970000-0000-7000-8000-000000000007"
PROPOSAL = '''from aristobot import Strategy, param, ta


class Cross(Strategy):
    """Long above the average, <b>with a stop</b>."""

    stop_loss = param(0.02, low=0.005, high=0.10)
'''
_ANSWER = f"""Below is a stop of 2 %. It is a fraction of the entry price, so `stop_loss = 0.02` is 2 %.

```python
{PROPOSAL}```

<script>alert("a model's words")</script> <img src=x onerror=alert(1)>

```text
a line that is much wider than the panel is, so that it has to be scrolled sideways: {"x" * 120}
```"""


def _line(number: int, **fields: object) -> views.AssistantLine:
    shared = {"id": f"m{number}", "strategy_id": STRATEGY, "is_users": False, "text": "", "said_at": NOW}
    return views.AssistantLine(**{**shared, **fields})  # type: ignore[arg-type]  # as the class has them


def lines() -> tuple[views.AssistantLine, ...]:
    """A conversation with everything that can become of an answer."""
    return (
        _line(1, is_users=True, text="Add a stop, please.\n\n    with spaces"),
        _line(2, text=_ANSWER, proposal=PROPOSAL, tokens=Decimal(1734), cost=Decimal("0.0031")),
        _line(3, is_users=True, text="averylongwordwithoutanyspaces" * 9),
        _line(4, text=_ANSWER, decision="accepted", tokens=Decimal(2100)),
        _line(5, text="It would have said more", outcome="stopped", decision="none", tokens=Decimal(12)),
        _line(6, outcome="failed", sentence="The provider does not take your key. Enter it anew in your preferences.", is_own_doing=True),
        _line(7, text="Half", outcome="interrupted"),
        _line(8, text="Still", outcome="running"),
        _line(9, text="Cut", is_cut=True, decision="none"),
        _line(10, text="", tokens=Decimal(900)),
        _line(11, text=_ANSWER, decision="rejected"),
    )


def usage() -> views.AssistantUsage:
    """Two months of two models."""
    return views.AssistantUsage(
        rows=(
            views.UsageRow(
                month="Nov 2026", model="anthropic/claude-sonnet-4.5", answers=31, tokens=Decimal(123456), cost=Decimal("1.2345")
            ),
            views.UsageRow(month="Oct 2026", model="qwen3-coder:30b-a-name-that-is-long", answers=2, tokens=Decimal(900)),
        ),
        tokens=Decimal(123456),
        cost=Decimal("1.2345"),
    )


def content() -> views.AssistantContent:
    """A conversation with OpenRouter."""
    return views.AssistantContent(
        strategy_id=STRATEGY, provider="OpenRouter", model="anthropic/claude-sonnet-4.5", lines=lines(), usage=usage()
    )


def panel() -> views.AssistantPanel:
    """The panel with a conversation in it."""
    return views.AssistantPanel(strategy_id=STRATEGY, content=content())


def panels() -> dict[str, views.AssistantPanel]:
    """Every state of the panel."""
    empty = replace(content(), lines=(), usage=views.AssistantUsage())
    return {
        "conversation": panel(),
        "empty": replace(panel(), content=empty),
        "off": replace(panel(), content=replace(empty, state="off", provider="", model="")),
        "unchosen": replace(panel(), content=replace(content(), state="unchosen", provider="", model="")),
        "loading": replace(panel(), content=None),
    }


def fragments() -> dict[str, object]:
    """Its fragments: template → region."""
    return {
        "fragments/assistant/_panel.html": panel(),
        "fragments/assistant/_content.html": content(),
        "fragments/assistant/_message.html": lines()[1],
        "fragments/assistant/_usage.html": usage(),
    }
