"""`/api/brokers` and `/api/exchanges`."""

from dataclasses import asdict
from typing import Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Request

from app.accounts.dependencies import CurrentUser, FreshUser, fresh_user
from app.brokers import service
from app.brokers.schemas import (
    BalanceOut,
    BrokerIn,
    BrokerOut,
    BrokerPage,
    BrokerPatch,
    BrokerTryIn,
    ConnectionTestOut,
    ExchangeDetailOut,
    ExchangeOut,
    ExchangePage,
    KeyRightsOut,
    KeysIn,
    TestStepOut,
)
from app.brokers.testing import ConnectionTest, test_connection, try_keys
from app.core.http import SessionDep, problems
from app.domain.enums import OrderType, TimeInForce
from app.domain.instruments import plain
from app.errors import BrokerInUse, InvalidInput, NotFound
from app.exchanges.capabilities import capabilities_of
from app.exchanges.catalogue import EXCHANGES, OTHERS, Venue, venue_of

router = APIRouter(prefix="/api", tags=["brokers"])


class Left(Protocol):
    """What an account still has open; counted by trading, which lies above this package, so bootstrap hands the function down."""

    @property
    def orders(self) -> int:
        """Orders that may still fill."""

    @property
    def positions(self) -> int:
        """Open positions."""

    @property
    def is_anything_open(self) -> bool:
        """Whether removing the account leaves or ends something."""


def _facts(venue: Venue) -> dict[str, Any]:
    return {
        "id": venue.id,
        "name": venue.name,
        "is_tested": venue.is_tested,
        "needs_keys": bool(venue.required_credentials),
        "needs_password": "api_password" in venue.required_credentials,
        "needs_uid": "api_uid" in venue.required_credentials,
        "takes_subaccount": venue.subaccount_option is not None,
        "has_testnet": venue.has_testnet,
        "sandbox": None if venue.sandbox is None else venue.sandbox.value,
        "why_no_sandbox": venue.why_no_sandbox,
    }


@router.get("/exchanges", summary="Exchanges one can choose", responses=problems(401))
async def list_exchanges(principal: CurrentUser) -> ExchangePage:
    """Return the catalogue: paper trading, the tested exchanges, then all others by name."""
    del principal
    return ExchangePage(items=[ExchangeOut(**_facts(venue)) for venue in (*EXCHANGES.values(), *OTHERS.values())])


@router.get("/exchanges/{exchange_id}", summary="One exchange", responses=problems(401, 404))
async def show_exchange(principal: CurrentUser, exchange_id: str) -> ExchangeDetailOut:
    """Return what an account there needs and which orders it takes."""
    del principal
    venue = venue_of(exchange_id)
    if venue is None:
        raise NotFound(f"there is no exchange {exchange_id[:40]!r}")
    can = capabilities_of(exchange_id)
    native = [kind.value for kind in OrderType if can.is_native(kind)]
    return ExchangeDetailOut(
        **_facts(venue),
        credentials=list(venue.required_credentials),
        native_order_types=native,
        supervised_order_types=[kind.value for kind in OrderType if kind.value not in native],
        time_in_force=[force.value for force in TimeInForce if force in can.time_in_force],
        has_post_only=can.has_post_only,
        market_buy_by=[*(["base"] if can.market_buy_by_base else []), *(["quote"] if can.market_buy_by_quote else [])],
        has_order_pairs=can.has_oco,
        has_replace=can.has_replace,
    )


@router.get("/brokers", summary="Broker accounts", responses=problems(401))
async def list_brokers(principal: CurrentUser, session: SessionDep) -> BrokerPage:
    """Return the user's accounts, the default first."""
    return BrokerPage(items=[BrokerOut.model_validate(row) for row in await service.list_brokers(session, principal.user_id)])


@router.post("/brokers", status_code=201, summary="Add a broker account", responses=problems(401, 403, 409, 422))
async def create_broker(request: Request, principal: FreshUser, body: BrokerIn, session: SessionDep) -> BrokerOut:
    """Store the account with its keys encrypted; the first one becomes the default."""
    return BrokerOut.model_validate(await service.create_broker(session, request.app.state.vault, principal.user_id, body))


@router.post("/keys", summary="Keys for the default account", responses=problems(401, 403, 409, 422))
async def store_keys(request: Request, principal: FreshUser, body: KeysIn, session: SessionDep) -> BrokerOut:
    """Encrypt and store an exchange's keys on the default account, which is made when there is none. They never come out again."""
    broker = await service.store_keys(session, request.app.state.vault, principal.user_id, body)
    await request.app.state.connections.drop(broker.id)
    return BrokerOut.model_validate(broker)


@router.get("/brokers/{broker_id}", summary="One broker account", responses=problems(401, 404))
async def get_broker(principal: CurrentUser, broker_id: UUID, session: SessionDep) -> BrokerOut:
    """Return one account, without its keys."""
    return BrokerOut.model_validate(await service.get_broker(session, principal.user_id, broker_id))


@router.patch("/brokers/{broker_id}", summary="Change a broker account", responses=problems(401, 403, 404, 409, 422))
async def change_broker(request: Request, principal: CurrentUser, broker_id: UUID, body: BrokerPatch, session: SessionDep) -> BrokerOut:
    """Change the fields that are given; keys that are left out stay. New keys take a fresh code of who has a second factor."""
    if body.api_key is not None:
        await fresh_user(principal)
    broker = await service.change_broker(session, request.app.state.vault, principal.user_id, broker_id, body)
    await request.app.state.connections.drop(broker_id)
    return BrokerOut.model_validate(broker)


@router.delete("/brokers/{broker_id}", status_code=204, summary="Remove a broker account", responses=problems(401, 404, 409))
async def delete_broker(request: Request, principal: CurrentUser, broker_id: UUID, confirm: bool = False) -> None:  # noqa: FBT001  # a query
    """Forget the account's keys. While it has open orders or positions that takes `confirm=true`: they are canceled, and end here."""
    await remove(request, principal.user_id, broker_id, is_confirmed=confirm)


async def remove(request: Request, user_id: UUID, broker_id: UUID, *, is_confirmed: bool) -> None:
    """Remove an account, and with a confirmation end what is open of it first; shared by API and page.

    Raises:
        BrokerNotFound: no such account of this user.
        BrokerInUse: orders or positions are open and that is not confirmed, or an order cannot be canceled now.
    """
    state = request.app.state
    async with state.database.transaction() as session:
        await service.get_broker(session, user_id, broker_id)
    left: Left = await state.what_is_left(user_id, broker_id)
    if left.is_anything_open and not is_confirmed:
        raise BrokerInUse(
            f"this account has {left.orders} open orders and {left.positions} open positions. Confirm that the orders are to be canceled"
            " and the positions no longer followed here, or close them first."
        )
    await state.wind_down(user_id, broker_id)
    async with state.database.transaction() as session:
        await service.remove_broker(session, user_id, broker_id, now=state.clock.now())
    await state.connections.drop(broker_id)


@router.post("/brokers/test_connection", summary="Test keys before they are stored", responses=problems(401, 404, 422))
async def test_keys(request: Request, principal: CurrentUser, body: BrokerTryIn) -> ConnectionTestOut:
    """Ask the exchange with keys that are stored nowhere: whether it is reached, the clock, the key, its rights, the balance."""
    state = request.app.state
    return _told(await try_keys(state.database, state.vault, state.connections, principal.user_id, body))


@router.post("/brokers/{broker_id}/test_connection", summary="Test an account's keys", responses=problems(401, 404))
async def test_broker(request: Request, principal: CurrentUser, broker_id: UUID) -> ConnectionTestOut:
    """Ask the exchange for the balance with the stored keys."""
    state = request.app.state
    return _told(await test_connection(state.database, state.connections, principal.user_id, broker_id, now=state.clock.now()))


def _told(found: ConnectionTest) -> ConnectionTestOut:
    return ConnectionTestOut(
        success=found.success,
        latency_ms=found.latency_ms,
        code=found.code,
        message=found.message,
        balances=[BalanceOut(asset=b.asset, free=plain(b.free), locked=plain(b.locked)) for b in found.balances],
        steps=[TestStepOut(name=step.name.value, state=step.state.value, message=step.message, code=step.code) for step in found.steps],
        key_rights=None if found.rights is None else KeyRightsOut(**asdict(found.rights)),
    )


@router.post("/brokers/{broker_id}/reset_paper", status_code=204, summary="Begin a paper account anew", responses=problems(401, 404, 422))
async def reset_paper(request: Request, principal: CurrentUser, broker_id: UUID) -> None:
    """Cancel the paper account's orders, end its positions and give it its starting balance again; its history stays."""
    await begin_anew(request, principal.user_id, broker_id)


async def begin_anew(request: Request, user_id: UUID, broker_id: UUID) -> None:
    """Begin a paper account anew; shared by API and page.

    Raises:
        BrokerNotFound: no such account of this user.
        InvalidInput: it is no paper account.
    """
    async with request.app.state.database.transaction() as session:
        broker = await service.get_broker(session, user_id, broker_id)
    if not broker.is_paper:
        raise InvalidInput(f"{broker.name} trades real money at {broker.exchange}; only a paper account can begin anew")
    await request.app.state.reset_paper(user_id, broker_id)


@router.post("/brokers/{broker_id}/set_default", summary="Use this account by default", responses=problems(401, 404))
async def set_default(principal: CurrentUser, broker_id: UUID, session: SessionDep) -> BrokerOut:
    """Make this the account that is used where none is named."""
    return BrokerOut.model_validate(await service.set_default(session, principal.user_id, broker_id))
