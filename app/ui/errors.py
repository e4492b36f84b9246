"""Errors as pages: a sentence, a code and an id to look up in the log. Never a trace."""

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from app.accounts.dependencies import accounts_of, authenticate, cookie_name
from app.accounts.principal import Principal
from app.core.http import Failure
from app.core.i18n import use_language
from app.core.sentences import said
from app.errors import AppError, FreshCodeNeeded
from app.ui.surroundings import page, reader_of, shell_of
from app.ui.templating import triggers
from app.ui.views import ErrorView


async def render_failure(request: Request, failure: Failure) -> Response:
    """Return the page, or for htmx a toast that leaves the page as it is. A stranger is sent to the login page and back again."""
    problem = failure.problem
    is_fragment = request.headers.get("hx-request") == "true"
    if problem.status == 401:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = "/login" if path == "/" or request.method != "GET" else f"/login?next={path}"
        return Response(status_code=401, headers={"HX-Redirect": target}) if is_fragment else RedirectResponse(target, 303)
    if is_fragment:
        words = _in_language(problem.detail, await _language(request, problem.status))
        # A fresh code is asked for above the form that needs it: what was typed there stays.
        dialog = "fresh-code-dialog" if problem.code == FreshCodeNeeded.default_code else ""
        trigger = triggers(toast="" if dialog else words, level="error", open_dialog=dialog)
        return Response(status_code=problem.status, headers={**failure.headers, "HX-Trigger": trigger, "HX-Reswap": "none"})
    shell = await shell_of(request, await _known(request, problem.status), page="error")
    words = _in_language(problem.detail, shell.language)
    view = ErrorView(shell=shell, status=problem.status, message=words, code=problem.code, correlation_id=problem.request_id or "")
    return page(request, "pages/errors/error.html", view, status=problem.status)


def _in_language(detail: str, language: str) -> str:
    with use_language(language):
        return said(detail)


async def _language(request: Request, status: int) -> str:
    """The language of whoever asked, whatever was wrong with what they asked; with the database away, of their browser."""
    cookie = request.cookies.get(cookie_name(request))
    principal = await accounts_of(request).by_cookie(cookie) if cookie and status < 500 else None
    return reader_of(request, principal).language


async def _known(request: Request, status: int) -> Principal | None:
    """Who is looking, if that can be told: the error may be that the database is away, or that the session is not good."""
    if status >= 500 or request.method != "GET":
        return None
    try:
        return await authenticate(request)
    except AppError:
        return None
