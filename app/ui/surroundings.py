"""What every page needs around its own content: the shell, the reader's language and zone, and the answer itself."""

import re
from collections.abc import Mapping
from typing import Final

from fastapi import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.accounts.principal import Principal
from app.brokers.models import Broker
from app.brokers.service import list_brokers
from app.core.formatters import timezone
from app.core.i18n import gettext, resolve_language, use_language
from app.core.security import csrf_token
from app.core.sentences import said
from app.ui.compressing import html_page
from app.ui.regions import Regions
from app.ui.templating import PageView, Templating, ToastLevel, triggers
from app.ui.views import Choice, Environment, Reader, Shell, StatusItems

_SHELL_TOPICS: Final = ("status", "trading", "bell")
#: A path of this site: browsers drop control characters and read a backslash as a slash, and two slashes begin another host.
_OWN_PATH: Final = re.compile(r"/(?![/\\])[^\x00-\x20\\]*")


def templating_of(request: Request) -> Templating:
    """Return the renderer of this application."""
    templating: Templating = request.app.state.templating
    return templating


def regions_of(request: Request, principal: Principal) -> Regions:
    """Return the builder of this user's regions."""
    return Regions(request.app, principal.user_id, is_admin=principal.is_admin, currency=principal.currency)


def reader_of(request: Request, principal: Principal | None) -> Reader:
    """Return how this person reads: their preference, else what the browser says."""
    language = resolve_language(
        preference=principal.language.value if principal else None,
        cookie=request.cookies.get("lang"),
        accept_language=request.headers.get("accept-language"),
    )
    zone = "UTC"
    if principal is None or principal.display_timezone == "local":
        zone = str(timezone(request.cookies.get("tz", "UTC")))
    return Reader(language=language, timezone=zone)


async def shell_of(request: Request, principal: Principal | None, *, page: str, topics: tuple[str, ...] = ()) -> Shell:
    """Return the surroundings of a page."""
    reader = reader_of(request, principal)
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    state = request.app.state
    if principal is None:
        return Shell(
            csrf_token="",
            clock=state.clock.now(),
            page=page,
            path=path,
            language=reader.language,
            timezone=reader.timezone,
            theme="light" if request.cookies.get("theme") == "light" else "dark",
            env="simulated" if state.settings.is_simulated else "live",
        )
    async with state.database.transaction() as session:
        accounts = await list_brokers(session, principal.user_id)
    regions = regions_of(request, principal)
    status: StatusItems = await regions.status()
    with use_language(reader.language):
        trading, kill_scopes = await regions.trading(), kill_scopes_of(principal, accounts)
    return Shell(
        csrf_token=csrf_token(state.jwt_secret, principal.session_id),
        clock=state.clock.now(),
        page=page,
        path=path,
        user_name=principal.username,
        language=reader.language,
        timezone=reader.timezone,
        theme=principal.theme.value,
        env=_environment(request, accounts),
        status=status,
        bell=await regions.bell(),
        topics=_SHELL_TOPICS + topics,
        trading=trading,
        kill_scopes=kill_scopes,
        currency=principal.currency.value,
        default_broker=next((str(account.id) for account in accounts if account.is_default), ""),
        is_debug=principal.is_dev,
        is_admin=principal.is_admin,
        has_shortcuts=principal.has_shortcuts,
    )


def kill_scopes_of(principal: Principal, accounts: list[Broker]) -> tuple[Choice, ...]:
    """Return what a person may stop: everything of theirs, each account, and for an administrator the platform."""
    found = [Choice(value="user", label=gettext("All my accounts"))]
    found += [Choice(value=f"broker:{account.id}", label=account.name) for account in accounts] if len(accounts) > 1 else []
    found += [Choice(value="platform", label=gettext("The whole platform, for everybody"))] if principal.is_admin else []
    return tuple(found)


def _environment(request: Request, accounts: list[Broker]) -> Environment:
    """What the default account trades with: real money unless it is known not to."""
    default = next((account for account in accounts if account.is_default), None)
    if default is not None and default.is_testnet:
        return "testnet"
    if default is not None and default.is_paper:
        return "paper"
    is_binance = default is None or default.exchange == "binance"
    return "simulated" if is_binance and request.app.state.settings.is_simulated else "live"


def page(request: Request, template: str, view: PageView, *, status: int = 200) -> Response:
    """Return a whole page."""
    headers = {"Cache-Control": "no-store", "Vary": "HX-Request, Accept-Language"}
    return html_page(request, templating_of(request).page(template, view), status, headers=headers)


def fragment(
    request: Request,
    principal: Principal,
    template: str,
    region: object,
    *,
    status: int = 200,
    toast: tuple[ToastLevel, str] | None = None,
    close_dialog: str = "",
    partials: str = "",
) -> Response:
    """Return one region, with a toast (level, translated text), a dialog to close and further regions (`Templating.partial`) if wanted."""
    body = templating_of(request).fragment(template, region, reader=reader_of(request, principal))
    headers = {"Cache-Control": "no-store", "Vary": "HX-Request"}
    if toast is not None:
        with use_language(reader_of(request, principal).language):
            headers["HX-Trigger"] = triggers(toast=said(toast[1]), level=toast[0], close_dialog=close_dialog)
    elif close_dialog:
        headers["HX-Trigger"] = triggers(close_dialog=close_dialog)
    return HTMLResponse(body + partials, status, headers=headers)


def see_other(request: Request, target: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Send the browser to another page of ours, from a form or from htmx."""
    safe = target if _OWN_PATH.fullmatch(target) else "/"
    if request.headers.get("hx-request") == "true":
        return Response(status_code=200, headers={"HX-Redirect": safe, **(headers or {})})
    return RedirectResponse(safe, 303, headers=dict(headers or {}))
