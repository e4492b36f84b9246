"""Numbers of backtests."""

from app.backtests.events import BacktestChanged
from app.backtests.jobs import BacktestJobs
from app.backtests.memory import MemoryRoom
from app.backtests.models import BacktestState
from app.core.events import EventBus
from app.core.metrics import Metrics


def publish_backtests(metrics: Metrics, jobs: BacktestJobs, room: MemoryRoom, bus: EventBus) -> None:
    """Publish how many run in this process, the memory that they hold, and how those that it ran or canceled ended."""
    metrics.read("backtests_running", "Backtests that this process runs.", values=lambda: [((), jobs.running)])
    metrics.read(
        "backtests_memory_bytes",
        "Memory set aside for backtests and searches, held and in all.",
        "which",
        values=lambda: [(("held",), room.size - room.free), (("most",), room.size)],
    )
    ended = metrics.counter("backtests_total", "Backtests by how they ended.", "state")
    counters = {state: ended.labels(state.value) for state in BacktestState if state.is_over}

    def count(changed: BacktestChanged) -> None:
        state = BacktestState(changed.state)
        if state.is_over:
            counters[state].inc()

    bus.count(BacktestChanged, count)
