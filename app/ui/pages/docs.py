"""`/docs` and `/openapi.json`: the API as a page of our own, made from its document.

A foreign viewer would need inline scripts and a network.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from app.accounts.dependencies import authenticate
from app.accounts.principal import Principal
from app.core.config import Settings
from app.errors import NotAuthenticated
from app.ui.surroundings import page, shell_of
from app.ui.views import ApiView, FieldDoc, GroupDoc, OperationDoc

router = APIRouter(include_in_schema=False)

_METHODS = ("get", "post", "put", "patch", "delete")


async def reader(request: Request) -> Principal | None:
    """Return who reads it: users, and strangers where a setting lets them. What a server can do is nobody else's business.

    Raises:
        NotAuthenticated: a stranger.
    """
    settings: Settings = request.app.state.settings
    principal = await authenticate(request)
    if principal is None and not settings.public_api_docs:
        raise NotAuthenticated
    return principal


Reader = Annotated[Principal | None, Depends(reader)]


@router.get("/openapi.json")
async def show_document(request: Request, principal: Reader) -> JSONResponse:
    """The API's description for programs."""
    del principal
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def show_api(request: Request, principal: Reader) -> Response:
    """Every route with its fields and answers."""
    document: dict[str, Any] = request.app.openapi()
    view = ApiView(
        shell=await shell_of(request, principal, page="docs"), version=document["info"]["version"], groups=tuple(_groups(document))
    )
    return page(request, "pages/docs/api.html", view)


def _groups(document: Mapping[str, Any]) -> Iterator[GroupDoc]:
    found: dict[str, list[OperationDoc]] = {}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                found.setdefault(operation.get("tags", ["other"])[0], []).append(_operation(document, method, path, operation))
    for name, operations in found.items():
        yield GroupDoc(name=name, operations=tuple(operations))


def _operation(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> OperationDoc:
    return OperationDoc(
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        text=operation.get("description", ""),
        fields=(*_parameters(document, operation), *_body(document, operation)),
        answers=tuple((status, answer.get("description", "")) for status, answer in operation["responses"].items()),
    )


def _parameters(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[FieldDoc]:
    for parameter in operation.get("parameters", ()):
        yield FieldDoc(
            name=parameter["name"],
            place=parameter["in"],
            kind=_kind(document, parameter["schema"]),
            is_required=parameter.get("required", False),
            text=parameter.get("description", ""),
        )


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[FieldDoc]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return
    schema = _resolved(document, content["schema"])
    for name, member in schema.get("properties", {}).items():
        yield FieldDoc(
            name=name,
            place="body",
            kind=_kind(document, member),
            is_required=name in schema.get("required", ()),
            text=member.get("description", ""),
        )


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    schema = _resolved(document, schema)
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_kind(document, choice) for choice in schema["anyOf"] if choice.get("type") != "null")
    kind = str(schema.get("type", "object"))
    return f"{kind} ({schema['format']})" if "format" in schema else kind
