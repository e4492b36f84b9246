"""Takes one step of validation."""

from app.domain.simulation import SimulationCosts
from app.sandbox.guest.checks.contract import check_contract
from app.sandbox.guest.checks.findings import Findings
from app.sandbox.guest.checks.look_ahead import check_look_ahead
from app.sandbox.guest.checks.speed import check_speed
from app.sandbox.guest.checks.values import check_values
from app.sandbox.guest.checks.warm_up import check_warm_up
from app.sandbox.guest.loading import Loaded
from app.sandbox.guest.session import Frames
from app.sandbox.messages import MOST_FINDINGS, Check, Checked


def run_check(loaded: Loaded, frames: Frames, costs: SimulationCosts, request: Check) -> Checked:
    """Return what a step found.

    Raises:
        BaseException: what the user's code raises on the candles as they are.
    """
    findings = Findings(loaded)
    rate = None
    match request.step:
        case "contract":
            check_contract(loaded, frames, costs, findings)
        case "look_ahead":
            check_look_ahead(loaded, frames, costs, request.seed, findings)
        case "warm_up":
            check_warm_up(loaded, frames, costs, request.seed, findings)
        case "values":
            check_values(loaded, frames, costs, findings)
        case "speed":
            rate = check_speed(loaded, frames, costs, findings)
    return Checked(findings=findings.listed(MOST_FINDINGS), bars_per_s=rate)
