"""Errors on the wire: Binance's codes, messages and HTTP statuses.

Source: Binance Spot API documentation, errors.md and filters.md.
"""

from typing import Self


class VenueError(Exception):
    """An answer `{"code": …, "msg": …}` with an HTTP status, and with `data` where the venue tells more.

    It is part of the emulated protocol, not of the product's own error tree.
    """

    def __init__(self, code: int, message: str, *, status: int = 400, data: dict[str, object] | None = None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status
        self.data = data

    def describe(self) -> dict[str, object]:
        """Return the answer's document."""
        return {"code": self.code, "msg": self.message, **({} if self.data is None else {"data": self.data})}

    @classmethod
    def mandatory(cls, name: str) -> Self:
        """-1102: a parameter is missing or malformed."""
        return cls(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")

    @classmethod
    def illegal_characters(cls, name: str, legal_range: str) -> Self:
        """-1100: a parameter does not match its pattern."""
        return cls(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal_range}'.")

    @classmethod
    def too_precise(cls, name: str) -> Self:
        """-1111: more decimals than the asset has."""
        return cls(-1111, f"Parameter '{name}' has too much precision.")

    @classmethod
    def not_required(cls, name: str) -> Self:
        """-1106: a parameter that this order type does not take."""
        return cls(-1106, f"Parameter '{name}' sent when not required.")

    @classmethod
    def bad_symbol(cls) -> Self:
        """-1121: the symbol is not listed."""
        return cls(-1121, "Invalid symbol.")

    @classmethod
    def filter_failure(cls, filter_type: str) -> Self:
        """-1013: a trading rule of the symbol is violated."""
        return cls(-1013, f"Filter failure: {filter_type}")

    @classmethod
    def rejected(cls, message: str) -> Self:
        """-2010: the matching engine refuses a new order."""
        return cls(-2010, message)

    @classmethod
    def unknown_on_cancel(cls) -> Self:
        """-2011: nothing open under that id."""
        return cls(-2011, "Unknown order sent.")

    @classmethod
    def no_such_order(cls) -> Self:
        """-2013: never heard of it."""
        return cls(-2013, "Order does not exist.")
