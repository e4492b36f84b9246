"""View-models: everything a template may look at, frozen, with Decimals and aware datetimes inside.

A page takes one view (`view`), which carries the `Shell`; a fragment takes one region (`region`). Templates format, they do not compute:
what a page shows and no column holds (a side, a percentage) is a field here. Percentages are fractions.
"""

from app.ui.views.accounts import ErrorView, LoginView, RegisterView
from app.ui.views.brokers import BrokerForm, BrokerRow, BrokersView, ExchangeFacts, TestResult
from app.ui.views.dashboard import (
    CHART_TIMEFRAMES,
    BalanceRow,
    Balances,
    ChartView,
    ChecklistStep,
    DashboardView,
    EquityPoint,
    EquityView,
    FillMark,
    Kpis,
    OrderRow,
    PositionRow,
)
from app.ui.views.docs import ApiView, FieldDoc, GroupDoc, OperationDoc
from app.ui.views.guarding import GuardForm, GuardRow, PositionFacts, PositionQuestion, TargetField, TargetRow, Watch
from app.ui.views.oversight import AuditView, ExternalOrderRow, FindingRow, UnexplainedRow
from app.ui.views.shell import (
    NAVIGATION,
    BrokerStatus,
    Choice,
    Environment,
    HeartbeatSummary,
    NavItem,
    Reader,
    Region,
    RegionState,
    Shell,
    StatusItems,
    Theme,
    UpDown,
)
from app.ui.views.trading_state import AlarmRow, KillProgress, RestraintRow, TradingView
from app.ui.views.webhooks import Decision, DeliveryRow, HookCreated, HookForm, HookRow, WebhooksView

__all__ = [
    "CHART_TIMEFRAMES",
    "NAVIGATION",
    "AlarmRow",
    "ApiView",
    "AuditView",
    "BalanceRow",
    "Balances",
    "BrokerForm",
    "BrokerRow",
    "BrokerStatus",
    "BrokersView",
    "ChartView",
    "ChecklistStep",
    "Choice",
    "DashboardView",
    "Decision",
    "DeliveryRow",
    "Environment",
    "EquityPoint",
    "EquityView",
    "ErrorView",
    "ExchangeFacts",
    "ExternalOrderRow",
    "FieldDoc",
    "FillMark",
    "FindingRow",
    "GroupDoc",
    "GuardForm",
    "GuardRow",
    "HeartbeatSummary",
    "HookCreated",
    "HookForm",
    "HookRow",
    "KillProgress",
    "Kpis",
    "LoginView",
    "NavItem",
    "OperationDoc",
    "OrderRow",
    "PositionFacts",
    "PositionQuestion",
    "PositionRow",
    "Reader",
    "Region",
    "RegionState",
    "RegisterView",
    "RestraintRow",
    "Shell",
    "StatusItems",
    "TargetField",
    "TargetRow",
    "TestResult",
    "Theme",
    "TradingView",
    "UnexplainedRow",
    "UpDown",
    "Watch",
    "WebhooksView",
]
