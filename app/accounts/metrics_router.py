"""Numbers for a monitoring system. They are the platform's, nobody's in particular, and still nobody else's business."""

import ipaddress
from typing import Final

from fastapi import APIRouter, Request, Response

from app.accounts.dependencies import authenticate
from app.core.http import problems
from app.core.metrics import CONTENT_TYPE, Metrics
from app.errors import Forbidden, NotAuthenticated

router = APIRouter(tags=["health"])

#: What proxies put into what they pass on. A request from this machine with any of these comes from somewhere else.
_OF_PROXIES: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


@router.get(
    "/metrics",
    summary="Numbers in Prometheus' text format",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format, version 0.0.4"}, **problems(401, 403)},
)
async def get_metrics(request: Request) -> Response:
    """Return them to an administrator's bearer token, or to anybody on this machine where the settings say so.

    Raises:
        NotAuthenticated: no token, or none that is valid.
        Forbidden: an ordinary user's.
        ScopeMissing: an API token without the scope admin.
    """
    if not (request.app.state.settings.metrics_open_on_loopback and is_from_this_machine(request)):
        await _require_administrator(request)
    metrics: Metrics = request.app.state.metrics
    return Response(await metrics.render(), headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})


def is_from_this_machine(request: Request) -> bool:
    """Whether a request was made on this machine, and not handed on by a proxy here."""
    if request.client is None or any(name in request.headers for name in _OF_PROXIES):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


async def _require_administrator(request: Request) -> None:
    if "authorization" not in request.headers:
        # A cookie is for pages: a browser sends it along wherever a link leads.
        raise NotAuthenticated("use `Authorization: Bearer …` with an administrator's token")
    principal = await authenticate(request)
    if principal is None or not principal.is_admin:
        raise Forbidden("only an administrator may do that")
