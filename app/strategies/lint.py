"""Asks ruff what is wrong with a source, on which line. It runs as a process of its own, which knows nothing and may do next to nothing.

The source comes from a stranger, and ruff's parser is written in a safe language and looks at text only. Still it gets no environment, no
file but what it must load (`lint_cell`), and bounds of memory, time and output; what it answers is read like any other foreign message.
"""

import asyncio
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import ruff
import structlog

from app.core.i18n import N_
from app.strategies.lint_words import RULES, SYNTAX, UNKNOWN, Rule
from app.strategies.report import Found

log = structlog.get_logger(__name__)

#: Of a source of 128 KiB ruff needs a tenth of a second and 60 MB.
_LONGEST_S: Final = 5.0
_LONGEST_ANSWER: Final = 4 << 20
_MOST_FINDINGS: Final = 100
_AT_ONCE: Final = 2


class _Place(msgspec.Struct, frozen=True):
    row: int
    column: int


class _Told(msgspec.Struct, frozen=True):
    """One of ruff's findings, of which it tells more than is needed."""

    code: str | None
    message: str
    location: _Place


_ANSWER: Final = msgspec.json.Decoder(list[_Told])


@cache
def _command() -> tuple[str, ...]:
    # By its path: what is locked in begins with nothing of ours in its memory.
    cell = (sys.executable, "-I", "-S", "-B", str(Path(__file__).resolve().with_name("lint_cell.py")))
    return (
        *cell, str(Path(ruff.find_ruff_bin()).resolve()), "check",
        "--isolated", "--no-cache", "--ignore-noqa", "--exit-zero", "--quiet", "--output-format", "json",
        "--target-version", f"py{sys.version_info.major}{sys.version_info.minor}", "--select", ",".join(RULES),
        "--config", 'builtins = ["Strategy"]',  # the older template is written without importing it
        "--stdin-filename", "strategy.py", "-",
    )  # fmt: skip


class Linter:
    """Runs ruff, a few at a time."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def look(self, source: str) -> list[Found]:
        """Return what is wrong with a source, in the order of its lines; lines and columns count from 1."""
        async with self._places:
            try:
                answer = await _run(source.encode(errors="replace"))
            except OSError as error:
                # Advice is missing then, and nothing else: what a strategy does is judged in the jail.
                log.warning("lint_not_run", error=str(error)[:200])
                answer = None
        if answer is None:
            return [_too_hard()]
        try:
            told = _ANSWER.decode(answer)
        except msgspec.MsgspecError as error:
            log.warning("lint_unreadable", error=str(error)[:200])
            return [_too_hard()]
        found = sorted(told, key=lambda one: (one.location.row, one.location.column))
        return [_finding(one) for one in found[:_MOST_FINDINGS]]


def _too_hard() -> Found:
    return Found(code="LINT_FAILED", severity="warning", message=N_("The source is too large or too deeply nested to be looked through."))


def _finding(told: _Told) -> Found:
    code = told.code or "invalid-syntax"
    rule: Rule | None = RULES.get(code)
    if rule is None:
        rule = SYNTAX if code == "invalid-syntax" else UNKNOWN
        values = {"problem": told.message[:64]}
    else:
        values = rule.values(told.message)
    return Found(
        code=code, severity=rule.severity, message=rule.words, values=values, line=max(told.location.row, 0),
        column=max(told.location.column, 0),
    )  # fmt: skip


async def _run(source: bytes) -> bytes | None:
    """Return what ruff answers; None when it came to no end within its bounds."""
    process = await asyncio.create_subprocess_exec(
        *_command(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={}, cwd="/",
    )  # fmt: skip
    try:
        async with asyncio.timeout(_LONGEST_S):
            answer = await _told(process, source)
            code = None if answer is None else await process.wait()
    except TimeoutError:
        return None
    finally:
        await _end(process)
    return answer if code == 0 else None


async def _end(process: Any) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    # A process counts as ended once its pipe is read to the end.
    while await process.stdout.read(65_536):
        pass
    await process.wait()


async def _told(process: Any, source: bytes) -> bytes | None:
    # It reads all before it writes anything, so neither waits for the other.
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(source)
        await process.stdin.drain()
    process.stdin.close()
    answer = bytearray()
    while chunk := await process.stdout.read(65_536):
        answer += chunk
        if len(answer) > _LONGEST_ANSWER:
            return None
    return bytes(answer)
