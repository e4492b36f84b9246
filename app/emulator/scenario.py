"""Scenario files: a market, accounts, faults at their times, and what must be true in the end. TOML or JSON; docs/emulator.md shows one."""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any

from app.domain.candles import to_milliseconds
from app.emulator.clock import read_clock_mode
from app.emulator.config import (
    AccountSpec,
    EmulatorConfig,
    GeneratedSymbol,
    ReplayFile,
    ScriptedSymbol,
    SilentSymbol,
)
from app.emulator.expectations import read_expectations
from app.emulator.fault_rules import read_rule
from app.emulator.limits import changed_settings
from app.errors import AppError, ConfigError, InvalidInput

Table = Mapping[str, Any]

_PLAIN: Mapping[str, tuple[str, type]] = {
    "seed": ("seed", int),
    "history": ("history_minutes", int),
    "shift": ("is_shifted", bool),
    "journal": ("journal_capacity", int),
}
_FEED_FIELDS = {
    "gbm": frozenset({"feed", "px", "vol"}),
    "silent": frozenset({"feed", "px"}),
    "scripted": frozenset({"feed", "prices"}),
    "replay": frozenset({"feed", "file"}),
}


def read_scenario(path: Path, base: EmulatorConfig) -> EmulatorConfig:
    """Return `base` with everything the file says in place of its own.

    Raises:
        ConfigError: the file cannot be read, or says something that means nothing; the message names the place.
    """
    document = _load(path)
    given: dict[str, Any] = {}
    for name, value in document.items():
        reader = _READERS.get(name)
        if reader is None:
            raise ConfigError(f"{path}: a scenario has no {name!r}")
        try:
            given |= reader(name, value, path.parent)
        except AppError as error:
            raise ConfigError(f"{path}: {name}: {error.message}") from error
    if "is_shifted" not in given:
        # Repeatable only if it begins at the same moment each time.
        given["is_shifted"] = not given.get("clock", base.clock).is_virtual
    return replace(base, **given)


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            return tomllib.loads(text, parse_float=Decimal)
        if path.suffix == ".json":
            document = json.loads(text, parse_float=Decimal)
            if isinstance(document, dict):
                return document
            raise ConfigError(f"{path}: the file must hold one object")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    raise ConfigError(f"{path}: a scenario is a .toml or .json file")


def _plain(name: str, value: object, _folder: Path) -> dict[str, Any]:
    field, kind = _PLAIN[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidInput(f"cannot be {value!r}")
    return {field: value}


def _speed(_name: str, value: object, _folder: Path) -> dict[str, Any]:
    return {"speed": float(_number(value))}


def _clock(_name: str, value: object, _folder: Path) -> dict[str, Any]:
    return {"clock": read_clock_mode(str(value))}


def _start(_name: str, value: object, _folder: Path) -> dict[str, Any]:
    """A moment such as 2026-01-01T00:00:00Z, written plainly in TOML and as a text in JSON; without a zone it is UTC."""
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise InvalidInput(f"{value!r} is no ISO 8601 moment") from error
    if not isinstance(moment, datetime):
        raise InvalidInput(f"{value!r} is no ISO 8601 moment")
    return {"start_at_ms": to_milliseconds(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))}


def _market(_name: str, value: object, folder: Path) -> dict[str, Any]:
    feeds: dict[str, list[object]] = {"generate": [], "silent": [], "scripted": [], "replay": []}
    for symbol, feed in _table(value).items():
        kind = _table(feed).get("feed")
        if kind not in _FEED_FIELDS:
            raise InvalidInput(f"the feed of {symbol} must be one of {', '.join(_FEED_FIELDS)}, was {kind!r}")
        if unknown := feed.keys() - _FEED_FIELDS[kind]:
            raise InvalidInput(f"a {kind} feed has no {min(unknown)!r}")
        if kind == "gbm":
            volatility = float(_number(feed["vol"])) if "vol" in feed else None
            feeds["generate"].append(GeneratedSymbol(symbol=symbol, price=_price(feed), volatility=volatility))
        elif kind == "silent":
            feeds["silent"].append(SilentSymbol(symbol=symbol, price=_price(feed)))
        elif kind == "scripted":
            prices = feed.get("prices")
            if not isinstance(prices, list):
                raise InvalidInput(f"the prices of {symbol} must be a list")
            feeds["scripted"].append(ScriptedSymbol(symbol=symbol, prices=tuple(map(_number, prices))))
        else:
            feeds["replay"].append(ReplayFile(path=folder / str(feed.get("file")), symbol=symbol))
    return {name: tuple(each) for name, each in feeds.items()}


def _accounts(_name: str, value: object, _folder: Path) -> dict[str, Any]:
    accounts: list[AccountSpec] = []
    for number, entry in enumerate(_list(value)):
        account = _table(entry)
        if unknown := account.keys() - {"key", "secret", "balances", "bnb_fee"}:
            raise InvalidInput(f"account {number} has no {min(unknown)!r}")
        pays_in_bnb = account.get("bnb_fee", False)
        if not isinstance(pays_in_bnb, bool):
            raise InvalidInput(f"bnb_fee of account {number} must be true or false")
        key, secret = account.get("key"), account.get("secret")
        if not isinstance(key, str) or not isinstance(secret, str) or not key or not secret:
            raise InvalidInput(f"account {number} needs a key and a secret")
        balances = {asset: _number(amount) for asset, amount in _table(account.get("balances", {})).items()}
        if any(amount < 0 for amount in balances.values()):
            raise InvalidInput(f"account {number} cannot hold less than nothing")
        accounts.append(AccountSpec(api_key=key, api_secret=secret, balances=balances, pays_in_bnb=pays_in_bnb))
    return {"accounts": tuple(accounts)}


def _faults(_name: str, value: object, _folder: Path) -> dict[str, Any]:
    rules = []
    for number, entry in enumerate(_list(value)):
        try:
            rules.append(read_rule(_plain_values(_table(entry))))
        except InvalidInput as error:
            raise InvalidInput(f"fault {number}: {error.message}") from error
    return {"faults": tuple(rules)}


def _limits(_name: str, value: object, _folder: Path) -> dict[str, Any]:
    given = dict(_table(value))
    found: dict[str, Any] = {}
    if "message_limit" in given:
        found["message_limit"] = int(_number(given.pop("message_limit")))
    if "connection_lifetime_s" in given:
        found["connection_lifetime_s"] = float(_number(given.pop("connection_lifetime_s")))
    return {**found, "limits": changed_settings(EmulatorConfig().limits, given)}


def _expect(_name: str, value: object, _folder: Path) -> dict[str, Any]:
    return {"expect": read_expectations(value)}


def _plain_values(table: Table) -> dict[str, Any]:
    """Numbers and times as JSON would bring them: TOML knows times of its own, and decimals are only for money."""
    return {
        name: float(value) if isinstance(value, Decimal) else value.isoformat() if isinstance(value, time) else value
        for name, value in table.items()
    }


def _table(value: object) -> Table:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"must be a table, was {value!r}")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput(f"must be a list, was {value!r}")
    return value


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise InvalidInput(f"{value!r} is no number")
    try:
        number = Decimal(value)
    except DecimalException as error:
        raise InvalidInput(f"{value!r} is no number") from error
    if not number.is_finite():
        raise InvalidInput(f"{value!r} is no number")
    return number


def _price(feed: Table) -> Decimal:
    price = _number(feed.get("px"))
    if price <= 0:
        raise InvalidInput(f"px must be above 0, was {price}")
    return price


_READERS: Mapping[str, Callable[[str, object, Path], dict[str, Any]]] = {
    **dict.fromkeys(_PLAIN, _plain),
    "speed": _speed,
    "clock": _clock,
    "start": _start,
    "market": _market,
    "accounts": _accounts,
    "faults": _faults,
    "limits": _limits,
    "expect": _expect,
}
