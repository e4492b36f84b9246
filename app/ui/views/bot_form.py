"""The form of a new bot."""

from dataclasses import dataclass, field

from app.ui.views.bots import BotMode
from app.ui.views.safeguards import SafeguardForm
from app.ui.views.shell import Choice, Environment, Shell
from app.ui.views.strategy_editor import ParameterForm


@dataclass(frozen=True, slots=True, kw_only=True)
class BotFields:
    """What is typed into the form, as it is typed; dates as ISO writes them, "" for none."""

    name: str = ""
    strategy: str = ""
    version: str = ""
    account: str = ""
    ask: bool = False
    symbol: str = ""
    timeframe: str = ""
    capital: str = "1000"
    since: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotForm:
    """The form, region of `fragments/bots/_form.html`. `key` makes one bot of several clicks.

    `backtest` is the number of the run that is promoted, `cloned` that of the bot that it is a copy of; 0 for neither. `mode` and `env`
    follow the account. `own_timeframe` is the one that the strategy names, `quote` the currency of the capital. `feed` is the exchange
    whose candles decide, `venue` that of the account where it is another. `problem` says why the chosen version may not trade.
    `free` is what the account holds of the quote, as it is read. `otherwise` says what it would do otherwise than the backtest.
    """

    fields: BotFields
    key: str = ""
    mode: BotMode = "paper"
    env: Environment = "paper"
    strategies: tuple[Choice, ...] = ()
    versions: tuple[Choice, ...] = ()
    accounts: tuple[Choice, ...] = ()
    timeframes: tuple[str, ...] = ()
    parameters: ParameterForm = field(default_factory=ParameterForm)
    safeguards: SafeguardForm = field(default_factory=lambda: SafeguardForm(scope="bot"))
    own_timeframe: str = ""
    quote: str = ""
    feed: str = ""
    venue: str = ""
    free: str = ""
    problem: str = ""
    backtest: int = 0
    cloned: int = 0
    otherwise: tuple[str, ...] = ()
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BotFormView:
    """The page of the form."""

    shell: Shell
    form: BotForm
