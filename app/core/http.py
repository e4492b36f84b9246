"""The one place that knows HTTP beneath the routers: sessions that commit before the reply, and errors as answers."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

import asyncpg
import orjson
import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core import outage
from app.core.db import Database
from app.core.i18n import N_
from app.core.middleware import shield
from app.errors import AppError, ExchangeRateLimited, NotAuthenticated, TooManyAttempts

log = structlog.get_logger(__name__)

#: The database may have died before anything was asked of an exchange or after: nobody can know that here.
_DATABASE_GONE: Final = N_(
    "The database does not answer. What you asked for may or may not have been done. Nothing is lost: when the database is back, every "
    "order is compared with the exchange. Look at your orders before you try again."
)
_DATABASE_GONE_FOR_A_READER: Final = N_("The database does not answer. Try again in a moment.")
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_PROBLEMS: Final = 20
_LONGEST_NAME: Final = 100


def database_of(request: Request) -> Database:
    """Return the database as whoever is asking sees it: their rows, and none before it is known who they are."""
    database: Database = request.app.state.database
    return database


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    async with database_of(request).transaction() as session:
        yield session


#: A session that commits before the reply is sent: scope="function", so that a failing commit is an error the caller sees.
SessionDep = Annotated[AsyncSession, Depends(_session, scope="function")]


class FieldProblem(BaseModel):
    """One field that cannot be used."""

    field: str
    message: str


class Problem(BaseModel):
    """An error answer. Source: RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] = []
    request_id: str | None = None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of a route that may answer with these problem statuses (`describe_problems` says how)."""
    return {status: {"description": HTTPStatus(status).phrase} for status in statuses}


#: What any route of the API may answer, whatever else it may.
_ANYWHERE: Final = (401, 403, 413, 422, 429, 503)


def describe_problems(app: FastAPI) -> None:
    """Let `/openapi.json` say of every refusal of the API that it is a `Problem`, and name the refusals that any route may answer."""
    generate = app.openapi

    def described() -> dict[str, Any]:
        document = app.openapi_schema
        if document is None:
            document = generate()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(_schemas_of_problems())
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    _describe(operation["responses"], _ANYWHERE if path.startswith("/api") else ())
        return document

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _schemas_of_problems() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), "Problem": schema}


def _describe(responses: dict[str, Any], anywhere: tuple[int, ...]) -> None:
    for status in anywhere:
        responses.setdefault(str(status), {"description": HTTPStatus(status).phrase})
    for code, response in responses.items():
        if code[0] in "45":
            response["content"] = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error on its way to become JSON or a page."""

    problem: Problem
    headers: Mapping[str, str]


#: What a database that went away or is full raises: through SQLAlchemy, and through asyncpg on the hot paths.
DATABASE_GONE: Final = (DBAPIError, *outage.DATABASE_GONE)

PageRenderer = Callable[[Request, Failure], Awaitable[Response]]


def is_page(request: Request) -> bool:
    """Whether a browser page or fragment is expected rather than JSON."""
    path = request.url.path
    return not path.startswith(("/api", "/hooks", "/healthz", "/readyz", "/metrics", "/openapi.json"))


def install_error_handlers(app: FastAPI, page: PageRenderer) -> None:
    """Answer every error as problem+json, or through `page` where a browser page is expected. Nobody sees a stack trace."""

    async def answer(request: Request, failure: Failure) -> Response:
        if is_page(request):
            return await page(request, failure)
        return Response(
            orjson.dumps(failure.problem.model_dump()),
            failure.problem.status,
            headers=dict(failure.headers),
            media_type="application/problem+json",
        )

    async def on_app_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, AppError)  # noqa: S101  # registered for AppError only
        return await answer(request, _from_app_error(request, error))

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for it only
        return await answer(request, _from_validation(request, error))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for it only
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # FastAPI's own, for a body that is no text or no form. What is wrong with a body is always said with the same status.
            words = N_("The body cannot be read: it is not what its type says.")
            return await answer(request, _failure(request, 422, "INVALID_INPUT", words))
        detail = _HTTP_DETAILS.get(error.status_code, str(error.detail))
        code = HTTPStatus(error.status_code).name
        return await answer(request, _failure(request, error.status_code, code, detail, headers=error.headers or {}))

    async def on_database(request: Request, error: Exception) -> Response:
        failure = _from_database_error(request, error)
        return await on_unexpected(request, error) if failure is None else await answer(request, failure)

    async def on_unexpected(request: Request, error: Exception) -> Response:
        log.error("request_failed", path=request.url.path, exc_info=error)
        failure = _failure(request, 500, "INTERNAL", N_("Something went wrong here. It was logged under the id below."))
        response = await answer(request, failure)
        # Starlette sends the answer to an unexpected error from outside every middleware, so it gets its headers here.
        shield(response.headers, request.scope)
        return response

    app.add_exception_handler(AppError, on_app_error)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    for kind in (*DATABASE_GONE, asyncpg.DataError, UnicodeEncodeError):
        app.add_exception_handler(kind, on_database)
    app.add_exception_handler(Exception, on_unexpected)


def _from_database_error(request: Request, error: Exception) -> Failure | None:
    """Return what is told: a value that cannot be stored, or a database that is away. None for a statement of ours that is wrong."""
    if _is_data_error(error):
        what = N_("A field has a value that cannot be stored: a character that is no text, or a number out of all bounds.")
        return _failure(request, 422, "INVALID_INPUT", what)
    if not _is_gone(error):
        return None
    log.error("database_unavailable", path=request.url.path, exc_info=error)
    words = _DATABASE_GONE_FOR_A_READER if request.method in _READS else _DATABASE_GONE
    return _failure(request, 503, "DATABASE_UNAVAILABLE", words)


def _is_gone(error: Exception) -> bool:
    """Whether an error of the database is that it went away, rather than a statement of ours that is wrong."""
    return outage.is_database_gone(error) or (isinstance(error, DBAPIError) and isinstance(error.orig, OSError))


def _is_data_error(error: Exception) -> bool:
    """Whether a value was refused as such (SQLSTATE class 22, or text without bytes: JSON can escape half a surrogate pair)."""
    if isinstance(error, DBAPIError):
        return str(getattr(error.orig, "sqlstate", "") or "").startswith("22")
    return isinstance(error, asyncpg.DataError | UnicodeEncodeError)


_HTTP_DETAILS = {
    404: N_("There is nothing at this address."),
    405: N_("This address does not take that method."),
}


def _failure(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Failure:
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail.encode(errors="replace").decode(),
        errors=[FieldProblem(field=error.field, message=error.message.encode(errors="replace").decode()) for error in errors or []],
        request_id=getattr(request.state, "request_id", None),
    )
    return Failure(problem=problem, headers=headers or {})


def _from_app_error(request: Request, error: AppError) -> Failure:
    headers: dict[str, str] = {}
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, ExchangeRateLimited | TooManyAttempts) and error.retry_after_s:
        headers["Retry-After"] = str(max(math.ceil(error.retry_after_s), 1))
    errors = [FieldProblem(field=error.field, message=error.message)] if error.field else []
    if error.status >= 500:
        log.warning("request_refused", code=error.code, path=request.url.path)
    return _failure(request, error.status, error.code, error.message, errors=errors, headers=headers)


def _from_validation(request: Request, error: RequestValidationError) -> Failure:
    # Anybody may send eighty thousand fields that are none: an answer that named them all would be five megabytes and a second's work.
    found = [
        FieldProblem(
            field=".".join(str(part)[:_LONGEST_NAME] for part in item["loc"] if part not in ("body", "query", "path")), message=item["msg"]
        )
        for item in error.errors()[:_MOST_PROBLEMS]
    ]
    names = ", ".join(sorted({item.field for item in found if item.field})) or "the body"
    return _failure(request, 422, "INVALID_INPUT", f"These fields cannot be used: {names}.", errors=found)
