"""The page of the portfolio, and what a person says of its flows."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.brokers.service import list_brokers
from app.core.http import database_of
from app.core.i18n import gettext, use_language
from app.domain.enums import FlowNote
from app.trading.flow_queries import label_flow
from app.ui.portfolio import ACCOUNT_TOPIC, PERIOD, PERIODS, Portfolio
from app.ui.surroundings import fragment, page, reader_of, regions_of, shell_of
from app.ui.views.portfolio import AccountChoice, PortfolioView

router = APIRouter(include_in_schema=False)

_FLOWS: Final = "fragments/portfolio/_flows.html"
Chosen = Annotated[list[UUID] | None, Query(alias="broker", max_length=100)]


@router.get("/portfolio")
async def show_portfolio(request: Request, principal: CurrentUser, broker: Chosen = None, period: str = PERIOD) -> Response:
    """What the accounts hold, are worth and earned, together or some of them, all live."""
    async with database_of(request).transaction() as session:
        accounts = await list_brokers(session, principal.user_id)
    # Of an account that is gone, or somebody else's, nothing is chosen: then all are shown.
    chosen = tuple(account.id for account in accounts if account.id in (broker or ()))
    portfolio = _portfolio(request, principal, chosen)
    shown = period if period in PERIODS else PERIOD
    with use_language(reader_of(request, principal).language):
        view = PortfolioView(
            shell=await shell_of(
                request, principal, page="portfolio", topics=("portfolio", *(f"{ACCOUNT_TOPIC}{account_id}" for account_id in chosen))
            ),
            live=await portfolio.live(),
            curve=await portfolio.curve(shown),
            period=shown,
            accounts=tuple(AccountChoice(id=str(account.id), name=account.name, is_chosen=account.id in chosen) for account in accounts),
        )
    return page(request, "pages/portfolio/portfolio.html", view)


def _portfolio(request: Request, principal: Principal, chosen: tuple[UUID, ...]) -> Portfolio:
    return Portfolio(regions=regions_of(request, principal), broker_ids=chosen or None)


@router.post("/portfolio/flows/{flow_id}")
async def relabel_flow(
    request: Request, principal: CurrentUser, flow_id: UUID, note: Annotated[FlowNote | None, Form()] = None, broker: Chosen = None
) -> Response:
    """Say what a flow was; the list comes back."""
    await label_flow(database_of(request), principal.user_id, flow_id, note)
    with use_language(reader_of(request, principal).language):
        words = gettext("Saved.")
    flows = await _portfolio(request, principal, tuple(broker or ())).flows()
    return fragment(request, principal, _FLOWS, flows, toast=("success", words))
