"""The module `aristobot` that strategies import; it exists in the process that runs them only."""

import sys
from types import ModuleType

from app.sandbox.guest import ta
from app.sandbox.guest.params import param
from app.sandbox.guest.strategy import Fill, Strategy

NAME = "aristobot"


def register() -> None:
    """Make `import aristobot` and `import aristobot.ta` work."""
    module = ModuleType(NAME, "What a strategy is written with.")
    vars(module).update(Strategy=Strategy, param=param, ta=ta, Fill=Fill, __all__=["Fill", "Strategy", "param", "ta"], __path__=[])
    sys.modules[NAME] = module
    sys.modules[f"{NAME}.ta"] = ta
