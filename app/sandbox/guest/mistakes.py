"""What is said to the author of a strategy when something about it is wrong."""


class StrategyMistake(Exception):
    """Something that its author must change.

    Attributes:
        code: Stable name of the mistake.
        line: Of the source, counted from 1; 0 where no line is to blame.
        attribute: The method or attribute it is about.
        candle: Row of the candle it is about.
    """

    def __init__(self, code: str, message: str, *, line: int = 0, attribute: str = "", candle: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.line = line
        self.attribute = attribute
        self.candle = candle
