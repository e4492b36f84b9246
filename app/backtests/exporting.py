"""A stored result as a file, made in the pool."""

from collections import Counter
from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from app.backtests.export import ExportKind, exported, file_name
from app.backtests.export_run import ExportedRun, RunHeader
from app.backtests.models import BacktestResult
from app.backtests.packed import unpacked_equity, unpacked_fills, unpacked_trades
from app.backtests.report import from_stored
from app.backtests.service import Listed, listed
from app.backtests.wish import Rules, options_of
from app.core.i18n import N_
from app.core.tenancy import owned
from app.domain.safeguards import plain_safeguards
from app.errors import RateLimited, ResultMissing

#: Files of one user that are made, or on their way, at a time.
MOST_FILES: Final = 2
_PIECE: Final = 1 << 18


class FilesUnderWay:
    """Counts the files of each user that this process holds in memory."""

    def __init__(self) -> None:
        self._held: Counter[UUID] = Counter()

    def begin(self, user_id: UUID) -> None:
        """Count one more; whoever began it calls `end` when it has been sent.

        Raises:
            RateLimited: the user has as many as one may have.
        """
        if self._held[user_id] >= MOST_FILES:
            raise RateLimited(N_("You are making as many files as one may at a time. Wait for one of them."))
        self._held[user_id] += 1

    def end(self, user_id: UUID) -> None:
        """Count one less."""
        self._held[user_id] -= 1
        if not self._held[user_id]:
            del self._held[user_id]


async def pieces_of(file: bytes) -> AsyncGenerator[bytes, None]:
    """Yield a file piece by piece, as fast as it is read: sent at once all of it would lie in the connection's buffer."""
    for begin in range(0, len(file), _PIECE):
        yield file[begin : begin + _PIECE]


class ToExport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a file is made of, as it is stored; small enough to be handed to the pool."""

    header: RunHeader
    report: dict[str, object]
    trades: bytes
    fills: bytes
    equity: bytes

    def named(self, kind: ExportKind) -> str:
        """Return the file's name."""
        return file_name(self.header, kind)


async def to_export(session: AsyncSession, user_id: UUID, backtest_id: UUID) -> ToExport:
    """Return what a file of a backtest is made of.

    Raises:
        BacktestNotFound: no such backtest of this user.
        ResultMissing: it has no result.
    """
    found = await listed(session, user_id, backtest_id)
    row = await session.scalar(owned(BacktestResult, user_id).where(BacktestResult.backtest_id == backtest_id))
    if row is None or found.backtest.report is None:
        raise ResultMissing
    return ToExport(header=header_of(found), report=found.backtest.report, trades=row.trades, fills=row.fills, equity=row.equity)


def header_of(found: Listed) -> RunHeader:
    """Return everything that makes a backtest again."""
    backtest, options = found.backtest, options_of(found.backtest.options)
    rules = msgspec.convert(backtest.rules, Rules)
    same = {
        name: getattr(backtest, name)
        for name in (
            "number", "state", "exchange", "symbol", "timeframe", "start_at", "end_at", "capital", "fee", "maker_fee", "slippage",
            "engine_version", "seed", "candles_sha256", "finished_at", "note",
        )
    }  # fmt: skip
    return RunHeader(
        **same,
        strategy=found.strategy_name,
        version=found.version_number,
        version_id=str(backtest.version_id),
        parameters=(backtest.data or {}).get("parameters") or dict(backtest.parameters),
        volume_share=options.volume_share,
        funding_rate=options.funding_rate,
        detail=options.is_detailed,
        safeguards=plain_safeguards(options.safeguards),
        tick=rules.tick,
        step=rules.step,
        least_notional=rules.least_notional,
    )


def make_file(given: ToExport, kind: ExportKind, language: str) -> bytes:
    """Return the file. A task for the pool: parquet loads 40 MB of code."""
    times, equity = unpacked_equity(given.equity)
    run = ExportedRun(
        header=given.header,
        report=from_stored(given.report),
        trades=unpacked_trades(given.trades),
        fills=unpacked_fills(given.fills),
        times=times,
        equity=equity,
    )
    return exported(run, kind, language=language)
