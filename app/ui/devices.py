"""A browser's or program's name for itself, made short enough to recognise: "Chrome 156, Linux"."""

import re
from typing import Final

#: Later ones pretend to be earlier ones too, so the first that is found is meant.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Version", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def device_of(user_agent: str | None) -> str:
    """Return a short name; what is not known is shown as it is, cut."""
    text = (user_agent or "").replace("Headless", "")
    for token, name in _BROWSERS:
        found = re.search(rf"\b{token}/(\d+)", text)
        if found is not None and text.startswith("Mozilla/"):
            system = next((shown for word, shown in _SYSTEMS if word in text), "")
            return f"{name} {found[1]}{', ' if system else ''}{system}"
    return text[:40]
