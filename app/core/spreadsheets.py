"""Cells of files that people open in a spreadsheet."""

from datetime import datetime
from typing import Any, Final

#: A spreadsheet takes a cell that begins with one of these for a formula, and much of what is written here is anybody's to choose.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> str:
    """Return `value` as a cell that is no formula: a moment in ISO 8601, a mapping as `name=value; …`, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    shown = "; ".join(f"{name}={item}" for name, item in value.items()) if isinstance(value, dict) else str(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
