"""`/hooks/{secret}`, TradingView's door, and `/api/webhooks`."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Response
from fastapi import Request as HttpRequest
from fastapi.routing import APIRoute

from app.accounts.dependencies import CurrentUser, FreshUser, fresh_user
from app.core.http import SessionDep, database_of, problems
from app.webhooks import queries, service
from app.webhooks.models import Decision, Webhook
from app.webhooks.receive import LARGEST_BODY, Door, Request
from app.webhooks.replay import replay_on_paper
from app.webhooks.schemas import (
    Accepted,
    DeliveryOut,
    DeliveryPage,
    TestIn,
    WebhookCreated,
    WebhookIn,
    WebhookOut,
    WebhookPage,
    WebhookPatch,
)
from app.webhooks.service import Created


class _Direct(APIRoute):
    """Calls its endpoint with the request and the path's secret, and looks for nothing else it may want: that took a third of an alert."""

    def get_route_handler(self) -> Callable[[HttpRequest], Coroutine[Any, Any, Response]]:
        async def handle(request: HttpRequest) -> Response:
            response: Response = await self.endpoint(request, request.path_params["secret"])
            return response

        return handle


door = APIRouter(tags=["webhooks"], route_class=_Direct)
router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])


@door.post(
    "/hooks/{secret}",
    status_code=202,
    summary="TradingView's door",
    response_model=Accepted,
    responses={200: {"model": Accepted, "description": "An exact repeat: logged, not traded again"}, **problems(404, 413, 503)},
)
async def receive(request: HttpRequest, secret: str) -> Response:
    """Keep the alert and answer at once; it is read and traded right after. Any content type, at most 64 KiB."""
    started_ns = time.perf_counter_ns()
    entrance = _door_of(request)
    body, is_whole = await _read(request)
    incoming = Request(
        secret=secret,
        body=body,
        ip_address=request.client.host if request.client else None,
        content_type=request.headers.get("content-type"),
        started_ns=started_ns,
    )
    if not is_whole:
        await entrance.refuse_too_large(incoming, max(len(body), int(request.headers.get("content-length") or 0)))
    received = await entrance.receive(incoming)
    if received.delivery is not None:
        request.app.state.inbox.offer(received.delivery)
        # The inbox gets its first turn now: its first statement is then under way while the answer is written.
        await asyncio.sleep(0)
    status = 200 if received.decision is Decision.DUPLICATE else 202
    told = Decision.PENDING if received.is_foreign else received.decision
    answer = {"delivery_id": str(received.delivery_id), "decision": told.value}
    return Response(orjson.dumps(answer), status, media_type="application/json")


async def _read(request: HttpRequest) -> tuple[bytes, bool]:
    """Return the body, or its beginning and False when it is larger than we take. Nothing beyond the limit is read."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > LARGEST_BODY:
        return b"", False
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_BODY:
            return b"".join(chunks), False
    return b"".join(chunks), True


def address(request: HttpRequest, secret: str) -> str:
    """Return the address of a webhook as the outside reaches it."""
    public = request.app.state.settings.public_url or str(request.base_url)
    return f"{public.rstrip('/')}/hooks/{secret}"


def _shown(request: HttpRequest, webhook: Webhook) -> WebhookOut:
    shown = WebhookOut.model_validate(webhook)
    return shown.model_copy(update={"warning": _warning(request, webhook)})


def _warning(request: HttpRequest, webhook: Webhook) -> str | None:
    senders = _door_of(request).senders
    return None if senders is None else senders.warning(webhook.allowed_ips)


def _door_of(request: HttpRequest) -> Door:
    entrance: Door = request.app.state.door
    return entrance


@router.get("", summary="Webhooks", responses=problems(401))
async def list_webhooks(request: HttpRequest, principal: CurrentUser, session: SessionDep) -> WebhookPage:
    """Return the user's webhooks."""
    return WebhookPage(items=[_shown(request, row) for row in await service.list_webhooks(session, principal.user_id)])


@router.post("", status_code=201, summary="Make a webhook", responses=problems(401, 403, 404, 409, 422))
async def create_webhook(request: HttpRequest, principal: FreshUser, body: WebhookIn, session: SessionDep) -> WebhookCreated:
    """Make a webhook. Its address is in this answer and nowhere else. Who has it may trade: it takes a fresh code, as a token does."""
    now = request.app.state.clock.now()
    return _created(request, await service.create_webhook(session, principal.user_id, name=body.name, now=now, **body.settings()))


def _created(request: HttpRequest, created: Created) -> WebhookCreated:
    return WebhookCreated(url=address(request, created.secret), **_shown(request, created.webhook).model_dump())


@router.get("/deliveries", summary="Every attempt, newest first", responses=problems(401, 422))
async def list_deliveries(
    request: HttpRequest,
    principal: CurrentUser,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
    webhook_id: UUID | None = None,
    decision: Decision | None = None,
) -> DeliveryPage:
    """Return one page of attempts. Administrators also see those on addresses that nobody has."""
    state = request.app.state
    rows, following = await queries.list_deliveries(
        state.platform_database if principal.is_admin else state.database,  # what nobody's address received is no tenant's
        principal.user_id,
        limit=limit,
        cursor=cursor,
        webhook_id=webhook_id,
        decision=None if decision is None else decision.value,
        with_strangers=principal.is_admin,
    )
    return DeliveryPage(items=[DeliveryOut.of(row) for row in rows], next=following)


@router.get("/deliveries/{delivery_id}", summary="One attempt", responses=problems(401, 404))
async def get_delivery(request: HttpRequest, principal: CurrentUser, delivery_id: UUID) -> DeliveryOut:
    """Return one attempt."""
    return DeliveryOut.of(await queries.get_delivery(database_of(request), principal.user_id, delivery_id))


@router.post(
    "/deliveries/{delivery_id}/replay", status_code=202, summary="Repeat an attempt on paper", responses=problems(401, 404, 422, 429)
)
async def replay_delivery(request: HttpRequest, principal: CurrentUser, delivery_id: UUID) -> Accepted:
    """Put the attempt's message into the inbox once more, to be acted on with play money; what comes of it is a line of its own."""
    _door_of(request).trials.replay(principal.user_id)
    replayed = await replay_on_paper(request.app.state.desk, principal.user_id, delivery_id)
    return Accepted(delivery_id=replayed, decision=Decision.PENDING)


@router.get("/{webhook_id}", summary="One webhook", responses=problems(401, 404))
async def get_webhook(request: HttpRequest, principal: CurrentUser, webhook_id: UUID, session: SessionDep) -> WebhookOut:
    """Return one webhook, without its address."""
    return _shown(request, await service.get_webhook(session, principal.user_id, webhook_id))


@router.patch("/{webhook_id}", summary="Change, pause or resume a webhook", responses=problems(401, 403, 404, 409, 422))
async def change_webhook(
    request: HttpRequest, principal: CurrentUser, webhook_id: UUID, body: WebhookPatch, session: SessionDep
) -> WebhookOut:
    """Change the fields that are given. What lets alerts do more (another account, more senders, looser rules) takes a fresh code."""
    changes = body.changes()
    if await service.is_widened(session, principal.user_id, webhook_id, changes):
        await fresh_user(principal)
    changed = await service.change_webhook(session, principal.user_id, webhook_id, now=request.app.state.clock.now(), **changes)
    return _shown(request, changed)


@router.post("/{webhook_id}/test", status_code=202, summary="Try a message", responses=problems(401, 404, 413, 422, 429))
async def test_webhook(request: HttpRequest, principal: CurrentUser, webhook_id: UUID, body: TestIn, session: SessionDep) -> Accepted:
    """Put a message into the webhook's inbox as a test: the log then tells how it is understood and what it would do."""
    _door_of(request).trials.test(principal.user_id)
    tried = await service.put_test(session, principal.user_id, webhook_id, body.message, now=request.app.state.clock.now())
    return Accepted(delivery_id=tried, decision=Decision.PENDING)


@router.post("/{webhook_id}/rotate", summary="Give a webhook a new address", responses=problems(401, 403, 404))
async def rotate(request: HttpRequest, principal: FreshUser, webhook_id: UUID, session: SessionDep) -> WebhookCreated:
    """Make a new address; the old one stops working at once. Takes a fresh code."""
    return _created(request, await service.rotate_secret(session, principal.user_id, webhook_id, now=request.app.state.clock.now()))


@router.delete("/{webhook_id}", status_code=204, summary="Remove a webhook", responses=problems(401, 404))
async def delete_webhook(request: HttpRequest, principal: CurrentUser, webhook_id: UUID, session: SessionDep) -> None:
    """Close the door; its log stays."""
    await service.remove_webhook(session, principal.user_id, webhook_id, now=request.app.state.clock.now())
