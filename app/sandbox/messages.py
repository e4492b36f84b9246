"""What crosses the wall of the jail: every request to a worker and every reply from one, with its bounds.

A reply is the word of hostile code. It is decoded into these types or refused whole; what is bulky goes through shared memory
(`app.sandbox.frames`) and is copied before it is looked at.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.domain.safeguards import SafeguardNumbers

#: Characters of a strategy's source.
LONGEST_SOURCE = 131_072
LONGEST_NAME = 64
#: Longest text that a worker may send in one field: a message, a line of output, a traceback.
LONGEST_TEXT = 4_096
LONGEST_DOCSTRING = 4_000
MOST_PARAMETERS = 64
MOST_FRAMES = 16
#: Besides the one that is traded, and minutes of it that tell what happens inside a candle.
MOST_OTHERS = MOST_FRAMES - 2
MOST_FINDINGS = 100
#: Sets of parameters that one request tries.
MOST_SETS = 500

Name = Annotated[str, Meta(max_length=LONGEST_NAME)]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Number = Annotated[float, Meta(ge=-1e15, le=1e15)]
Line = Annotated[int, Meta(ge=0, le=1_000_000)]
#: What a parameter may be: a whole number, a number, a switch, or one of some words. `None` stands for "none" of an optional number.
Value = bool | Annotated[int, Meta(ge=-(2**53), le=2**53)] | Number | Name | None

#: Open time in ms since 1970 UTC, open, high, low, close, volume.
ClosedCandle = tuple[Count, Number, Number, Number, Number, Number]


class Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Candles of one market that were mapped into a worker before it was locked, by their place.

    The first frame of a worker is the one that the strategy trades; others are informative.
    """

    symbol: Name
    timeframe: Name
    rows: Count


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="load"):
    """Compile the source, make the class, describe it. Comes first; everything else needs it."""

    source: Annotated[str, Meta(max_length=LONGEST_SOURCE)]
    parameters: dict[Name, Value] = {}


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="run"):
    """Decide at every closed candle of the first frame and write the decisions into the results' memory.

    Attributes:
        start: The first candle at which the strategy may decide, an index into the first frame (its warm-up or later).
        costs: Of the simulated account that per-candle methods see.
        detail: The place of a frame of shorter candles of the traded market, from which is read what happens to that account inside a
            candle. The strategy does not see it.
        is_long_only: Never sell short, as on a spot account: the strategy is not asked for it.
    """

    start: Count
    costs: "Costs"
    detail: Count | None = None
    is_long_only: bool = False


class Sweep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sweep"):
    """Decide at every candle once for each set of parameters, as `Load` and `Run` would one after the other; see `sandbox.packed`.

    Attributes:
        sets: Of parameters, in the order in which they are tried.
        start: The first candle at which the strategy may decide.
        costs: Of the simulated account that per-candle methods see.
        detail: As that of `Run`; the same in every sweep of a worker.
        seconds: No further set is begun after so long; at least one is tried.
    """

    sets: Annotated[list[dict[Name, Value]], Meta(min_length=1, max_length=MOST_SETS)]
    start: Count
    costs: "Costs"
    detail: Count | None = None
    seconds: Annotated[float, Meta(gt=0, le=3_600)] = 3_600.0


class Rewrite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="rewrite"):
    """Say where other defaults go in the source that was loaded last. Nothing of it is run for that."""

    defaults: dict[Name, Value]


class Costs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the simulated account pays and holds; fractions are of one (0.001 is 0.1 %). Zero steps mean no rounding."""

    capital: Number = 10_000.0
    fee: Number = 0.001
    #: Of targets, which rest as limit orders; `None`: the same.
    maker_fee: Number | None = None
    slippage: Number = 0.0005
    step: Number = 0.0
    tick: Number = 0.0
    least_notional: Number = 0.0
    volume_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    funding_rate: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    #: Of the account; a strategy sees what they do to it, not what they are.
    safeguards: SafeguardNumbers | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="check"):
    """Take one step of validation.

    Attributes:
        step: `contract` whether the class can be used at all, `look_ahead` by truncated histories, `warm_up` by longer ones,
            `values` what of its series is NaN, constant or unused, `speed` candles a second.
        seed: Of the points at which histories are cut.
    """

    step: Literal["contract", "look_ahead", "warm_up", "values", "speed"]
    costs: Costs
    seed: Count = 0


class Holding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a live strategy holds. `quantity` is signed; zero when flat."""

    quantity: Number
    entry_price: Number
    equity: Number
    opened_at_ms: Count = 0
    stop: Number | None = None
    target: Number | None = None


class LiveFill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One execution of a live strategy's order. `time` is in ms since 1970 UTC."""

    side: Literal["buy", "sell"]
    quantity: Number
    price: Number
    fee: Number
    reason: Literal["entry", "add", "reduce", "exit", "stop", "trailing", "target"]
    time: Count


class Decide(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="decide"):
    """Decide at one closed candle, which is the last of the candles that the worker knows; live trading's request.

    Attributes:
        candle: `(open time in ms, open, high, low, close, volume)` that closed now, appended to the first frame before deciding; `None`
            decides at the last one that is there.
        others: Candles of other frames that closed by then, by the frame's place, oldest first.
        fills: What was executed since the last decision, oldest first.
    """

    candle: ClosedCandle | None
    holding: Holding
    others: Annotated[list[tuple[Count, ClosedCandle]], Meta(max_length=1_000)] = []
    fills: Annotated[list[LiveFill], Meta(max_length=100)] = []


Request = Load | Run | Sweep | Rewrite | Check | Decide


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request on its way. `request_id` is random and comes back with the reply."""

    request_id: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    request: Request


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `param` of a strategy, as a form shows it."""

    name: Name
    kind: Literal["int", "float", "bool", "choice"]
    default: Value
    low: Number | None = None
    high: Number | None = None
    step: Number | None = None
    choices: Annotated[list[Name], Meta(max_length=50)] = []
    help: Annotated[str, Meta(max_length=300)] = ""
    is_optional: bool = False


class Informative(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Candles that a strategy wants besides its own; an empty symbol is the one it trades."""

    symbol: Name = ""
    timeframe: Name


class Described(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="described"):
    """The answer to `Load`: what the strategy says of itself."""

    class_name: Name
    docstring: Annotated[str, Meta(max_length=LONGEST_DOCSTRING)]
    timeframe: Name
    warm_up: Annotated[int, Meta(ge=0, le=1_000_000)]
    style: Literal["per_candle", "signals", "both", "template"]
    can_short: bool
    parameters: Annotated[list[Parameter], Meta(max_length=MOST_PARAMETERS)]
    informative: Annotated[list[Informative], Meta(max_length=MOST_OTHERS)]


class Ran(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ran"):
    """The answer to `Run`; the decisions lie in the results' memory, one row a candle of the first frame."""

    rows: Count
    output: Text = ""


class Packed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, array_like=True):
    """What came of one set of parameters: how many rows of the results' memory its decisions take, or why it has none.

    `columns` has a bit for each column of decisions after the flags that holds anything.
    """

    rows: Count
    columns: Annotated[int, Meta(ge=0, le=32_767)] = 0
    problem: Annotated[str, Meta(max_length=300)] = ""
    line: Line = 0


class Swept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="swept"):
    """The answer to `Sweep`: the first of the sets, as many as there was room and time for."""

    sets: Annotated[list[Packed], Meta(max_length=MOST_SETS)]


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, array_like=True):
    """Characters of the source from `start` up to `end` become `text`."""

    start: Annotated[int, Meta(ge=0, le=LONGEST_SOURCE)]
    end: Annotated[int, Meta(ge=0, le=LONGEST_SOURCE)]
    text: Annotated[str, Meta(max_length=80)]


class Rewritten(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="rewritten"):
    """The answer to `Rewrite`: what changes in the source, in order and none over another."""

    edits: Annotated[list[Edit], Meta(max_length=MOST_PARAMETERS)]


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that a check found. `line` counts from 1, 0 means that it has none.

    `code` is stable; `message` is an English sentence with the `values` as `%(name)s`.
    """

    code: Name
    severity: Literal["error", "warning", "note"]
    message: Text
    values: dict[Name, Name] = {}
    attribute: Name = ""
    candle: int | None = None
    line: Line = 0
    column: Line = 0


class Checked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="checked"):
    """The answer to `Check`."""

    findings: Annotated[list[Finding], Meta(max_length=MOST_FINDINGS)]
    bars_per_s: Number | None = None
    output: Text = ""


_Price = Annotated[float, Meta(gt=0, le=1e15)]
_Gain = Annotated[float, Meta(gt=0, lt=10)]
_Part = Annotated[float, Meta(gt=0, le=1)]


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="decision"):
    """The answer to `Decide`.

    `size` is a fraction of equity, `stop` and `target` are absolute prices, `stop_loss` and `take_profit` distances from the entry's fill
    as fractions of it, `trailing` one of the best price since; `adjust` is the signed fraction of the position to add or to take off.
    `limit` is the price of an entry that rests until the next close. `part` is the fraction of what was entered that leaves at the target,
    None all that is left; the numbered ones are further targets, their distances and their parts.
    """

    action: Literal["none", "long", "short", "exit"]
    size: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: _Price | None = None
    target: _Price | None = None
    trailing: Annotated[float, Meta(gt=0, lt=1)] | None = None
    adjust: Annotated[float, Meta(ge=-1, le=10)] | None = None
    stop_loss: Annotated[float, Meta(gt=0, lt=1)] | None = None
    take_profit: _Gain | None = None
    limit: _Price | None = None
    target_2: _Price | None = None
    target_3: _Price | None = None
    take_profit_2: _Gain | None = None
    take_profit_3: _Gain | None = None
    part: _Part | None = None
    part_2: _Part | None = None
    part_3: _Part | None = None
    output: Text = ""


class Failed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="failed"):
    """The user's code raised, or is not a strategy. `kind` is the exception's class or a code of ours; lines count from 1, 0 is none."""

    kind: Name
    message: Text
    line: Line = 0
    column: Line = 0
    traceback: Text = ""
    output: Text = ""


Reply = Described | Ran | Swept | Rewritten | Checked | Decision | Failed


class Answered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reply on its way."""

    request_id: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    reply: Reply
