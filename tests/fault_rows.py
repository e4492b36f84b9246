"""The rows of the fault matrix."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, how it is injected, and the outcome demanded."""

    fault: str
    injection: str
    outcome: str


ROWS: Final[dict[int, Row]] = {
    1: Row(
        "the connection breaks before the order arrives",
        "exchange drops the request",
        "unknown, then lost; no order, and the trader is told so",
    ),
    2: Row("the order executes, the reply is lost", "exchange drops the reply", "found by its client order id; filled once"),
    3: Row(
        "no answer in time, executed late", "exchange answers after the time-out", "found; if it comes after it was given up, it comes back"
    ),
    4: Row("504 -1007, 503 -1000, 502 after executing", "exchange answers an error", "unknown, then found"),
    5: Row("truncated body, a web page, an empty object", "exchange breaks its answer", "unknown, then found"),
    6: Row(
        "429 and 418",
        "exchange asks to slow down, or bans",
        "one circuit for the address; orders wait until their deadline, protection first",
    ),
    7: Row("a new order is hidden for a while", "exchange denies what it accepted", "never sent again; lost, then back"),
    8: Row("the answer has no order id", "exchange answers id null", "never open without an id; looked up"),
    9: Row(
        "no name, no TLS, a proxy in the environment",
        "bad address, plain port, HTTPS_PROXY",
        "nothing is sent, no storm of tries, readiness says so",
    ),
    10: Row("half-open connection", "a relay that swallows bytes", "given up after its time limit; the stream is dropped by its silence"),
    11: Row(
        "a stream goes silent while pings are answered",
        "exchange stops sending",
        "noticed within 10 s by the age of data; the gap is filled",
    ),
    12: Row("user events doubled, swapped, missing", "exchange garbles its user stream", "the end is what REST says; fills count once"),
    13: Row("a candle closes late, twice, revised, never", "exchange garbles its candles", "one signal a candle; a revision is noted"),
    14: Row("the daily cut, a shutdown notice, close codes", "exchange closes streams", "no candle lost"),
    15: Row(
        "filled in part, then canceled; a fill after that",
        "depth for a part; a late fill",
        "the quantity is the sum of fills; the late one counts",
    ),
    16: Row(
        "more filled than ordered, fees in base or BNB, dust",
        "reports and account options",
        "exact to the last digit; sells fit what is held; dust is left",
    ),
    17: Row(
        "too small, off the step, too far from the market",
        "orders that break a filter",
        "denied here with the numbers; the exchange's own no is put in words",
    ),
    18: Row("the symbol is halted; its filters change", "exchange changes the symbol", "entries denied, exits tried, the rules read again"),
    19: Row(
        "the key is revoked, its address refused, read-only",
        "exchange refuses the key",
        "the account pauses at once and says what is missing",
    ),
    20: Row("a stop's replacement is done by half", "exchange takes the old back and refuses the new", "a new stop within a second"),
    21: Row("kill -9 at every step of an order", "kill points", "none or one order, and the same after a repetition"),
    22: Row("kill -9 of the server in a request", "SIGKILL while it answers", "the repetition with the same key gets the same result"),
    23: Row("frozen for a minute, then on", "SIGSTOP and SIGCONT", "fenced here; a late request is too old for the exchange"),
    24: Row("the event loop stands still for 10 s", "a blocking call", "the lag is said; no order is refused for its age for ever"),
    25: Row("two engines want one role", "two processes", "the second is refused; the exchange has one order"),
    26: Row("two servers take the same alert", "two processes at once", "one order, both are answered 2xx"),
    27: Row("a double click, a browser's repetition, two tabs", "the same request again", "one order, the same answer"),
    32: Row(
        "the database ends a connection in a transaction",
        "pg_terminate_backend",
        "nothing is half done; nothing was sent without its claim",
    ),
    33: Row("kill -9 of the database", "SIGKILL of the postmaster", "what was acknowledged is there; the engine waits, then goes on"),
    34: Row(
        "no database while orders are open",
        "the database is stopped",
        "nothing new is sent; stops at the exchange guard; then all is caught up",
    ),
    35: Row(
        "the database comes back without its last commits",
        "a backup is restored",
        "orders here unknown are found at the exchange and taken in",
    ),
    36: Row("the disk is full", "a small file system", "writes are refused, kept rows stay, and it goes on when there is room"),
    37: Row("the clock is 7 s ahead or 2 h behind", "exchange's clock moves", "measured again; nothing is sent while it is unsure"),
}
