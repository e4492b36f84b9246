"""The emulator's page, held against the code; tests/emulator/test_scenario.py runs the scenario it shows."""

import re
from dataclasses import fields
from pathlib import Path

from app.emulator.__main__ import read_arguments
from app.emulator.fault_rules import KINDS
from app.emulator.limits import LimitSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs/emulator.md").read_text()
SHARED = {"at", "for", "method", "path", "symbol", "api_key", "client_order_id_prefix", "skip", "times", "p"}


def test_page_lists_every_fault_and_the_fields_that_are_its_own() -> None:
    rows = {name: row for row in PAGE.splitlines() for name in re.findall(r"^\| `(\w+)` \|", row)}
    assert rows.keys() >= KINDS.keys()
    for do, known in KINDS.items():
        missing = [name for name in known - SHARED if f"`{name}`" not in rows[do]]
        assert not missing, f"{do}: {missing}"
    assert all(f"`{name}" in PAGE or f'"{name}' in PAGE for name in SHARED)


def test_page_lists_every_limit_with_an_argument_that_sets_it() -> None:
    assert all(f"`{field.name}`" in PAGE for field in fields(LimitSettings))
    arguments = re.findall(r"`(--[a-z0-9-]+-(?:limit|after|limit-10s|limit-1d))`", PAGE)
    given = read_arguments([part for name in arguments for part in (name, "7")])
    assert {*(getattr(given.limits, field.name) for field in fields(LimitSettings)), given.message_limit} == {7}


def test_page_lists_every_control_route() -> None:
    sources = [path.read_text() for path in (Path(__file__).resolve().parents[2] / "app/emulator").glob("control*.py")]
    routes = {route for text in sources for route in re.findall(r'"(/_[a-z]+)"', text)}
    assert routes
    assert all(re.search(rf"`(GET|POST|DELETE) {route}\b", PAGE) for route in routes), routes
