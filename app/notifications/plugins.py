"""The modules of Apprise that speak for the kinds offered here, and what each is given in place of the network."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from apprise.plugins import N_MGR

from app.notifications.doors import GuardedMail, GuardedRequests
from app.notifications.services import ALLOWED

_PACKAGE: Final = "apprise.plugins."
#: Beside the modules of the classes themselves.
_MORE: Final = {"mailto": ("apprise.plugins.email.smtp",), "mailtos": ("apprise.plugins.email.smtp",)}


def modules_of(service: str) -> Iterator[ModuleType]:
    """Yield the modules of Apprise whose code runs when a message goes to a place of that kind."""
    names = {kind.__module__ for kind in N_MGR[service].__mro__ if kind.__module__.startswith(_PACKAGE)}
    for name in sorted({*names, *_MORE.get(service, ())}):
        yield sys.modules[name]


def put_doors() -> None:
    """Replace `requests` and `smtplib` in those modules; nothing else of this process is changed."""
    doors = {"requests": GuardedRequests(), "smtplib": GuardedMail()}
    for service in ALLOWED:
        for module in modules_of(service):
            for name, door in doors.items():
                if isinstance(getattr(module, name, None), ModuleType):
                    setattr(module, name, door)
