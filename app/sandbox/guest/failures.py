"""An exception of a user's code, as the server is told of it: the sentence, the line, and no frame that is not the user's."""

import traceback
from collections.abc import Iterator

from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.output import clean
from app.sandbox.guest.source import Source
from app.sandbox.messages import LONGEST_NAME, LONGEST_TEXT, Failed

#: What tracebacks call the user's source.
FILENAME = "strategy.py"


def failed(error: BaseException, output: str = "", *, source: str = "") -> Failed:
    """Return the reply for an exception; raises nothing, whatever the exception's own methods do.

    Args:
        error: What was raised.
        output: What was printed before.
        source: Where the attribute that a mistake is about is looked up, if no line is known.
    """
    kind = error.code if isinstance(error, StrategyMistake) else type(error).__name__
    line, column = place_of(error)
    if not line and isinstance(error, StrategyMistake):
        line, column = Source(source).anywhere(error.attribute)
    return Failed(
        kind=clean(str(kind))[:LONGEST_NAME],
        message=message_of(error),
        line=max(0, min(line, 1_000_000)),
        column=max(0, min(column, 1_000_000)),
        traceback=_traceback(error),
        output=output[:LONGEST_TEXT],
    )


def message_of(error: BaseException) -> str:
    """Return what an exception says, or its kind if it says nothing."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:  # noqa: BLE001 -- the method is the user's, and this is the place that must not fail
        text = "an exception whose text cannot be had"
    if isinstance(error, KeyError):
        text = f"there is no {text}"
    return clean(str(text or type(error).__name__))[:LONGEST_TEXT]


def place_of(error: BaseException) -> tuple[int, int]:
    """Return line and column in the user's source, counted from 1; 0 where there is none."""
    if isinstance(error, StrategyMistake) and error.line:
        return error.line, 0
    if isinstance(error, SyntaxError) and error.filename == FILENAME:
        return error.lineno or 0, error.offset or 0
    places = [(line, column) for line, column in _places(error)]
    return places[-1] if places else (0, 0)


def _places(error: BaseException) -> Iterator[tuple[int, int]]:
    """Yield the places of the user's frames, the innermost last."""
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if code.co_filename == FILENAME:
            column = 0
            for index, position in enumerate(code.co_positions()):
                if index == step.tb_lasti // 2:
                    column = (position[2] or 0) + 1
                    break
            yield step.tb_lineno, column
        step = step.tb_next


def _traceback(error: BaseException) -> str:
    try:
        told = traceback.TracebackException.from_exception(error, limit=-50, compact=True)
        told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if frame.filename == FILENAME])
        told.__cause__ = told.__context__ = None
        # Our own exceptions are told as a message; how we name them is nothing to the author.
        lines = told.stack.format() if isinstance(error, StrategyMistake) else list(told.format())
        return clean("".join(lines))[-LONGEST_TEXT:]
    except BaseException:  # noqa: BLE001 -- formatting calls the user's methods
        return ""
