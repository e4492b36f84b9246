"""Tables of the audit: when it ran, and what it found."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ForeignKey, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned


class AuditRun(Identified, Base):
    """One run of the audit over all accounts."""

    __tablename__ = "audit_runs"
    __table_args__ = (Index("ix_audit_runs_started_at", "started_at"),)

    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    findings: Mapped[int] = mapped_column(Integer)
    #: Whether everything was looked at, or only what is unsettled or had changed lately.
    is_full: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))


class AuditFinding(Identified, Base):
    """One invariant that did not hold for one account. `user_id` is None for what concerns no account."""

    __tablename__ = "audit_findings"
    __table_args__ = (Index("ix_audit_findings_user_id_id", "user_id", "id"), Index("ix_audit_findings_run_id", "run_id"))

    run_id: Mapped[UUID] = mapped_column(ForeignKey("audit_runs.id", ondelete="CASCADE"))
    user_id: Mapped[UUID | None]
    broker_id: Mapped[UUID | None] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"))
    code: Mapped[str]
    detail: Mapped[str]
    subject: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    found_at: Mapped[datetime]


class LedgerBaseline(Owned, Base):
    """What an account held of an asset when its ledger began: from there on, every change must be a fill of ours or one seen elsewhere."""

    __tablename__ = "ledger_baselines"

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    asset: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    amount: Mapped[Decimal]
    at: Mapped[datetime]
    #: What came or went since without a trade: deposits, withdrawals, conversions. Shown, and no reason to stop.
    unexplained: Mapped[Decimal] = mapped_column(server_default=text("0"))
