"""Which of Apprise's kinds of place a user may name, and reading such an address. Loaded with Apprise: by `messenger`, when it is needed.

Apprise knows places that are this machine itself (the desktop's bus, the system's log, a USB light) and options that read files or fetch
addresses of their own (templates, keys). So only what is listed here is taken, none of it with those options; a test reads the source of
the installed Apprise and holds each kind here against what its code may do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import apprise
from apprise.common import PersistentStoreMode
from apprise.plugins import url_to_dict

from app.core.i18n import N_
from app.errors import TargetRefused
from app.notifications.kinds import Severity

#: By Apprise's word, plain and secured. They speak through `requests` alone, for which `doors` stands in; mail through smtplib.
ALLOWED: Final = frozenset(
    {
        "bark", "barks", "betterstack", "brevo", "dingtalk", "discord", "feishu", "flock", "freemobile", "gchat", "goalert", "goalerts",
        "gotify", "gotifys", "hassio", "hassios", "ifttt", "ilert", "incidentio", "join", "json", "jsons", "lark", "line", "mailgun",
        "mailto", "mailtos", "mmost", "mmosts", "nctalk", "nctalks", "nexmo", "vonage", "notifiarr", "notifico", "notificos", "ntfy",
        "ntfys", "opsgenie", "pagerduty", "pagertree", "pbul", "postmark", "pover", "prowl", "pushdeer", "pushdeers", "pushed", "pushme",
        "pushplus", "pushy", "resend", "ringc", "rocket", "rockets", "ryver", "schan", "sendgrid", "signal", "signals", "signl4", "sinch",
        "slack", "smtp2go", "spike", "splunk", "victorops", "squadcast", "synology", "synologys", "telnyx", "tgram", "threema", "twilio",
        "twist", "viber", "webex", "wxteams", "wecombot", "whatsapp", "workflow", "workflows", "wxpusher", "xml", "xmls", "zoom", "zulip",
    }
)  # fmt: skip
#: Options that read a file, fetch an address, loosen a check or wait: refused, whatever the kind.
DENIED_OPTIONS: Final = frozenset(
    {
        "template", "verify", "redirect", "retry", "wait", "cto", "rto", "store", "pgp", "pgppub", "pgpprv", "pgpkey", "wkd", "attach",
        "keyfile", "subfile", "tz", "smtp_options", "async",
    }
)  # fmt: skip
_LONGEST: Final = 1000
_NO_ADDRESS: Final = N_("That is no address of a service that Apprise knows. It begins with a word such as tgram:// or ntfys://.")
_INCOMPLETE: Final = N_("Something is missing in that address, or is not of the form that %(service)s expects.")
_NOT_ALLOWED: Final = N_(
    "Addresses of the kind %(service)s are not offered here: they reach this server itself, or need more than a message."
)
_OPTION: Final = N_("The option %(option)s is not offered here.")
_KINDS: Final = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.ERROR: apprise.NotifyType.FAILURE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An address that may be used. `plugin` is Apprise's object, which knows how to speak there."""

    service: str
    label: str
    hint: str
    plugin: Any = field(repr=False)

    def notify(self, *, title: str, body: str, severity: Severity) -> bool:
        """Say something there, through the door that is open in this thread; False when it did not arrive."""
        # The pauses between messages are ours: a thread that sleeps keeps others from being told.
        self.plugin.throttle = _without_pause
        said = self.plugin.notify(body=body, title=title, notify_type=_KINDS[severity], body_format=apprise.NotifyFormat.TEXT)
        return bool(said)


def read(url: str) -> Place:
    """Return what a user's address names. Nothing is looked up or called.

    Raises:
        TargetRefused: it is none, or of a kind that is not offered.
    """
    given = url.strip()
    if not given or len(given) > _LONGEST or not given.isprintable():
        raise TargetRefused(_NO_ADDRESS, field="url")
    found: dict[str, Any] | None = url_to_dict(given, secure_logging=True)  # type: ignore[no-untyped-call]  # of Apprise
    service = str((found or {}).get("schema") or given.partition("://")[0]).lower()
    if service not in ALLOWED:
        words = _NOT_ALLOWED if found else _NO_ADDRESS
        raise TargetRefused(words % {"service": service[:30]} if found else words, field="url")
    if found is None:
        raise TargetRefused(_INCOMPLETE % {"service": service}, field="url")
    _refuse_options(found)
    return Place(service=service, label=_label(service), hint=hint(given), plugin=_plugin(found, service))


def _refuse_options(found: Mapping[str, Any]) -> None:
    named = {str(option).lower() for option in found.get("qsd") or ()}
    for option in sorted(named & DENIED_OPTIONS):
        raise TargetRefused(_OPTION % {"option": option}, field="url")


def _plugin(found: dict[str, Any], service: str) -> Any:
    asset = apprise.AppriseAsset(
        app_id="Aristobot",
        app_desc="Aristobot",
        app_url="",
        async_mode=False,
        storage_mode=PersistentStoreMode.MEMORY,
        secure_logging=True,
        plugin_paths=[],
        allow_templates=False,
        http_redirects=False,
        image_url_mask="",
        image_url_logo="",
    )
    try:
        plugin = apprise.Apprise.instantiate(
            {**found, "asset": asset, "verify": True, "redirect": False}, asset=asset, suppress_exceptions=False
        )
    except Exception:  # noqa: BLE001  # each of a hundred kinds has its own way of saying that something is missing, with the address in it
        plugin = None
    if plugin is None or getattr(plugin, "template", None):
        raise TargetRefused(_INCOMPLETE % {"service": service}, field="url")
    return plugin


def _label(service: str) -> str:
    return str(apprise.plugins.N_MGR[service].service_name)


def hint(url: str) -> str:
    """Return what is shown of an address afterwards: its last four signs, or fewer of a short one."""
    bare = url.split("?", 1)[0].rstrip("/")
    return bare[-4:] if len(bare) >= 16 else bare[-1:]


def _without_pause(*_: object, **__: object) -> None:
    return None
