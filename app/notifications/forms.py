"""The fields by which people name the places they know, and the address that Apprise makes of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from app.core.i18n import N_
from app.errors import InvalidInput

_LONGEST: Final = 500
_MISSING: Final = N_("This is needed.")
_TOO_LONG: Final = N_("This is too long, or has signs in it that are no text.")
_NO_LINK: Final = N_("This is no address: it begins with https:// (or http:// for a server of your own).")
_NO_DISCORD: Final = N_("This is no webhook of Discord. Copy it there: channel, Edit channel, Integrations, Webhooks, Copy webhook URL.")
_NO_TELEGRAM: Final = N_("This is no token of a Telegram bot. @BotFather gives one such as 123456789:AAE…")
_NO_MAIL: Final = N_("This is no mail address.")
_NO_PORT: Final = N_("A port is a number from 1 to 65535.")
_NO_HOST: Final = N_("This is the name of a server alone, such as smtp.example.org.")
_NO_TOPIC: Final = N_("A topic has letters, digits, - and _ only.")

Given = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form. `kind` is HTML's type of input; `choices` make it a list."""

    name: str
    label: str
    kind: str = "text"
    is_needed: bool = True
    hint: str = ""
    default: str = ""
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one service is named. `build` makes Apprise's address of checked fields."""

    name: str
    label: str
    fields: tuple[Field, ...]
    build: Callable[[Given], str]
    help: str = ""


def address_of(service: str, given: Given) -> str:
    """Return Apprise's address of what was filled in.

    Raises:
        InvalidInput: there is no such form, or a field cannot be what was given; `field` names it.
    """
    form = FORMS.get(service)
    if form is None:
        raise InvalidInput(N_("There is no service of that name here."), field="service")
    known = {field.name for field in form.fields}
    values = {name: str(value).strip() for name, value in given.items() if name in known}
    for field in form.fields:
        value = values.get(field.name) or field.default
        if field.is_needed and not value:
            raise InvalidInput(_MISSING, field=field.name)
        if len(value) > _LONGEST or not value.isprintable():
            raise InvalidInput(_TOO_LONG, field=field.name)
        if field.choices and value not in dict(field.choices):
            raise InvalidInput(_MISSING, field=field.name)
        values[field.name] = value
    return form.build(values)


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _telegram(given: Given) -> str:
    number, _, secret = given["token"].partition(":")
    if not number.isdecimal() or len(secret) < 20 or not all(sign.isalnum() or sign in "-_" for sign in secret):
        raise InvalidInput(_NO_TELEGRAM, field="token")
    return f"tgram://{number}:{secret}/{quote(given['chat'], safe='@-:')}/"


def _discord(given: Given) -> str:
    parts = urlsplit(given["webhook"])
    is_theirs = parts.hostname in ("discord.com", "discordapp.com", "canary.discord.com", "ptb.discord.com")
    pieces = parts.path.strip("/").split("/")
    if parts.scheme != "https" or not is_theirs or pieces[:2] != ["api", "webhooks"] or len(pieces) != 4:
        raise InvalidInput(_NO_DISCORD, field="webhook")
    return f"discord://{_quoted(pieces[2])}/{_quoted(pieces[3])}/"


def _mail(given: Given) -> str:
    host = given["host"].lower()
    if not host or any(sign in host for sign in "/@?#:[]% "):
        raise InvalidInput(_NO_HOST, field="host")
    if not given["port"].isdecimal() or not 0 < int(given["port"]) < 65_536:
        raise InvalidInput(_NO_PORT, field="port")
    for name in ("from", "to"):
        if not all(_is_mail(one) for one in given[name].split(",")):
            raise InvalidInput(_NO_MAIL, field=name)
    scheme = "mailto" if given["mode"] == "insecure" else "mailtos"
    login = f"{_quoted(given['user'])}:{_quoted(given['password'])}@" if given["user"] else ""
    to = ",".join(_quoted(one.strip()) for one in given["to"].split(","))
    options = f"smtp={_quoted(host)}&from={_quoted(given['from'])}&to={to}&mode={given['mode']}"
    return f"{scheme}://{login}{host}:{given['port']}?{options}"


def _is_mail(text: str) -> bool:
    name, _, domain = text.strip().partition("@")
    return bool(name) and "." in domain and "@" not in domain and not any(sign.isspace() or sign in "<>,;\"'" for sign in text.strip())


def _ntfy(given: Given) -> str:
    parts = _link(given["server"], "server")
    if not all(sign.isalnum() or sign in "-_" for sign in given["topic"]):
        raise InvalidInput(_NO_TOPIC, field="topic")
    scheme = "ntfys" if parts[0] == "https" else "ntfy"
    token = f"{_quoted(given['token'])}@" if given["token"] else ""
    options = "?mode=private" + ("&auth=token" if token else "")
    return f"{scheme}://{token}{parts[1]}/{given['topic']}{options}"


def _json(given: Given) -> str:
    scheme, place, path, query, login = _link(given["url"], "url")
    # What stands behind a question mark are Apprise's own options, but for those with a minus before them: they go along with the call.
    options = "&".join(f"-{_quoted(name)}={_quoted(value)}" for name, value in parse_qsl(query, keep_blank_values=True))
    return f"{'jsons' if scheme == 'https' else 'json'}://{login}{place}{path}" + (f"?{options}" if options else "")


def _link(text: str, field: str) -> tuple[str, str, str, str, str]:
    """Return scheme, host with port, path, query and login of a link."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidInput(_NO_LINK, field=field) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise InvalidInput(_NO_LINK, field=field)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    login = parts.netloc.rpartition("@")[0]
    return parts.scheme, host if port is None else f"{host}:{port}", parts.path, parts.query, f"{login}@" if login else ""


def _other(given: Given) -> str:
    return given["url"]


_MODES: Final = (
    ("starttls", N_("STARTTLS (usually port 587)")),
    ("ssl", N_("TLS from the start (usually port 465)")),
    ("insecure", N_("None: password and text travel in the clear")),
)
FORMS: Final = {
    form.name: form
    for form in (
        Form(
            name="telegram",
            label="Telegram",
            fields=(
                Field(name="token", label=N_("Token of the bot"), kind="password", hint="123456789:AAE…"),
                Field(name="chat", label=N_("Chat"), hint="123456789, -100…, @channel"),
            ),
            build=_telegram,
            help=N_("Make a bot with @BotFather, write it a message, and ask @userinfobot for the number of your chat."),
        ),
        Form(
            name="discord",
            label="Discord",
            fields=(Field(name="webhook", label=N_("Webhook URL"), kind="password", hint="https://discord.com/api/webhooks/…"),),
            build=_discord,
            help=N_("In Discord: channel, Edit channel, Integrations, Webhooks, Copy webhook URL."),
        ),
        Form(
            name="email",
            label=N_("E-mail"),
            fields=(
                Field(name="host", label=N_("Mail server (SMTP)"), hint="smtp.example.org"),
                Field(name="port", label=N_("Port"), kind="number", default="587"),
                Field(name="mode", label=N_("Encryption"), default="starttls", choices=_MODES),
                Field(name="user", label=N_("User name"), is_needed=False),
                Field(name="password", label=N_("Password"), kind="password", is_needed=False),
                Field(name="from", label=N_("From"), kind="email"),
                Field(name="to", label=N_("To"), kind="text", hint="ada@example.org, grace@example.org"),
            ),
            build=_mail,
            help=N_("Many providers want an app password here, and not the one you log in with."),
        ),
        Form(
            name="ntfy",
            label="ntfy",
            fields=(
                Field(name="topic", label=N_("Topic")),
                Field(name="server", label=N_("Server"), kind="url", default="https://ntfy.sh"),
                Field(name="token", label=N_("Access token"), kind="password", is_needed=False),
            ),
            build=_ntfy,
            help=N_("Whoever knows a topic on ntfy.sh can read it: choose one that nobody guesses."),
        ),
        Form(
            name="webhook",
            label=N_("JSON webhook"),
            fields=(Field(name="url", label=N_("Address"), kind="password", hint="https://example.org/hook"),),
            build=_json,
            help=N_("It gets a POST with title, message and type in JSON."),
        ),
        Form(
            name="other",
            label=N_("Another service"),
            fields=(Field(name="url", label=N_("Apprise URL"), kind="password", hint="slack://… pover://… gotifys://…"),),
            build=_other,
            help=N_("Apprise knows over seventy services that are offered here; its documentation says how each is written."),
        ),
    )
}
