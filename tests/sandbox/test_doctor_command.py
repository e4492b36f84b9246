"""`aristobot doctor`: what it prints, and how it ends."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.bootstrap import commands
from app.cli import cli
from app.core.config import Settings
from app.errors import ConfigError
from app.sandbox.link import Finding, Level, Report


def run(monkeypatch: pytest.MonkeyPatch, report: Report, *, trusts: bool = False) -> tuple[int, str]:
    async def found(_: Settings) -> Report:
        return report

    monkeypatch.setattr("app.cli.examine_jail", found)
    monkeypatch.setenv("TRUST_STRATEGIES", str(trusts))
    done = CliRunner().invoke(cli, ["doctor"])
    return done.exit_code, done.output


def test_it_prints_the_level_and_each_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(level=Level.A, findings=[Finding(code="landlock", is_good=True, detail="landlock ABI 7")])
    code, text = run(monkeypatch, report)
    assert code == 0
    assert "ok   landlock" in text
    assert "Level A: " in text


def test_below_level_b_it_fails_and_says_what_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(level=Level.D, findings=[Finding(code="seccomp", is_good=False)])
    code, text = run(monkeypatch, report, trusts=True)
    assert code == 1
    assert "no   seccomp" in text
    assert "TRUST_STRATEGIES is set" in text


def test_it_asks_the_sandbox_that_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_SOCKET", str(tmp_path / "nobody"))
    with pytest.raises(ConfigError):
        asyncio.run(commands.examine_jail(Settings(_env_file=None)))
