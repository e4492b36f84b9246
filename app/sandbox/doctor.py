"""The doctor: asks the kernel what it has, attacks a real worker in every way that matters, and says how far the lock can be trusted."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from app.sandbox import orders
from app.sandbox.cell import Cause, CellEnded, signal_name
from app.sandbox.doctor_attacks import ATTACKS, Attack
from app.sandbox.keeper import ENVIRONMENT, Keeper, ZygoteGone
from app.sandbox.link import Finding, Level, Report
from app.sandbox.messages import Answered, Asked, Failed, Load
from app.sandbox.orders import Facts, Order

#: What an attack may take: far more than any needs even on a busy machine, but where the clock is what stops it.
_WALL_S: Final = 10.0
_ENDLESS_WALL_S: Final = 0.2
_TRIES: Final = 3
#: What an attack that got what it wanted says.
_BREACH: Final = "breach"
#: Less than a strategy gets, so that taking it all is quickly done.
_PROBE: Final = Order(is_probe=True, memory_bytes=64 << 20)
_NICE_TO_HAVE: Final = frozenset({"landlock", "own_users", "no_network"})
_ANSWERED: Final = msgspec.msgpack.Decoder(Answered)


class Doctor:
    """Examines once; the same report is given to whoever asks later."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._report: Report | None = None

    async def report(self) -> Report:
        """Return what was found. Where no zygote can be started that is the finding."""
        if self._report is None:
            try:
                self._report = await self._examine()
            except (ZygoteGone, OSError) as error:
                return Report(level=Level.D, findings=[Finding(code="zygote", is_good=False, detail=str(error)[:500])])
        return self._report

    async def _examine(self) -> Report:
        facts = await self._keeper.facts()
        findings = await self._about_a_worker()
        attacks = await asyncio.gather(*(self._attacked(attack) for attack in ATTACKS))
        return judged(facts, findings, attacks)

    async def _about_a_worker(self) -> list[Finding]:
        """Look at a locked worker from outside."""
        try:
            cell = await self._keeper.spawn(_PROBE)
        except CellEnded as ended:
            return [Finding(code="lock", is_good=False, detail=ended.end.detail[:500])]
        status = _status(cell.pid)
        cell.kill(Cause.RELEASED)
        await cell.until_ended()
        has_none = all(int(status[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapInh"))
        return [
            Finding(code="no_new_privileges", is_good=status["NoNewPrivs"] == "1"),
            Finding(code="filter", is_good=status["Seccomp"] == "2"),
            Finding(code="capabilities", is_good=has_none),
        ]

    async def _attacked(self, attack: Attack) -> Finding:
        """Try an attack; one that ended otherwise than foreseen, but took nothing, is tried again: on a busy machine a clock may end it."""
        for _ in range(_TRIES):
            outcome = await self._outcome(attack)
            is_stopped = outcome in attack.stopped_by
            if is_stopped or outcome == _BREACH:
                break
        return Finding(code=f"attack_{attack.code}", is_good=is_stopped, detail=f"{'stopped' if is_stopped else 'not stopped'}: {outcome}")

    async def _outcome(self, attack: Attack) -> str:
        """Return what became of an attack: a signal, an exception, a cause, `nothing` or `breach`."""
        wall_s = _ENDLESS_WALL_S if Cause.WALL in attack.stopped_by else _WALL_S
        request = orders.encode(Asked(request_id=1, request=Load(source=attack.source)))
        try:
            cell = await self._keeper.spawn(_PROBE)
            body = await cell.ask(request, 1, wall_s=wall_s, cpu_s=wall_s)
        except CellEnded as ended:
            return signal_name(ended.end.signal) if ended.end.cause is Cause.SIGNAL else str(ended.end.cause)
        cell.kill(Cause.RELEASED)
        await cell.until_ended()
        reply = _ANSWERED.decode(body).reply
        if isinstance(reply, Failed):
            return reply.kind
        return getattr(reply, "docstring", "")[:20] or "nothing"


def _status(pid: int) -> dict[str, str]:
    """Return what /proc says about a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _about(facts: Facts) -> Iterator[Finding]:
    strange = sorted(set(facts.environment) - set(ENVIRONMENT) - {"PWD", "SHLVL", "_", "LC_CTYPE"})
    yield Finding(code="machine", is_good=bool(facts.machine), detail=f"Linux {facts.kernel} on {facts.machine or 'an unknown machine'}")
    yield Finding(code="seccomp", is_good=facts.has_seccomp)
    yield Finding(code="landlock", is_good=facts.landlock_abi > 0, detail=f"landlock ABI {facts.landlock_abi}")
    yield Finding(code="own_users", is_good=facts.has_own_uids)
    yield Finding(code="no_network", is_good=facts.is_networkless)
    yield Finding(code="clean_spawn", is_good=not strange and facts.is_single_threaded, detail=", ".join(strange)[:500])


def judged(facts: Facts, seen: Sequence[Finding], attacks: Sequence[Finding]) -> Report:
    """Return the report with its level: landlock, own users and no network make the difference between A and B, all else must be good.

    Args:
        facts: What the kernel has.
        seen: What a worker looks like from outside.
        attacks: What became of each attack.
    """
    findings = [*_about(facts), *seen, *attacks]
    if not all(finding.is_good for finding in findings if finding.code not in _NICE_TO_HAVE):
        return Report(level=Level.D, findings=findings)
    is_strong = facts.landlock_abi > 0 and (facts.has_own_uids or facts.is_networkless)
    return Report(level=Level.A if is_strong else Level.B, findings=findings)
