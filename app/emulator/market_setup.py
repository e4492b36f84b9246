"""Which symbols a venue lists, where their candles come from, and at which moment it begins."""

from decimal import Decimal

from app.emulator.bars import MINUTE_MS
from app.emulator.clock import MarketClock, WallTime
from app.emulator.config import EmulatorConfig
from app.emulator.filters import SymbolRules, rules_for
from app.emulator.snapshot import MarketMark
from app.emulator.sources import GENERATOR_EPOCH_MS, CandleSource, GeneratedSource, RowSource, SilentSource, replayed, scripted
from app.errors import ConfigError


def list_symbols(config: EmulatorConfig, seed: int) -> tuple[int, list[tuple[SymbolRules, CandleSource]]]:
    """Return the moment at which now begins, in the sources' own time, and all symbols with their candles.

    Raises:
        ConfigError: a file cannot be read, the start lies outside a recording, or a symbol is listed twice.
    """
    recorded = [(_recorded_rules(source), source) for source in (replayed(file.path, symbol=file.symbol) for file in config.replay)]
    start_ms = _start(config, [source for _, source in recorded])
    listed: list[tuple[SymbolRules, CandleSource]] = [*recorded]
    for wanted in config.generated:
        rules = _made_up_rules(wanted.symbol, wanted.price)
        made = GeneratedSource(
            wanted.symbol,
            price=wanted.price,
            seed=seed,
            tick_size=rules.tick_size,
            step_size=rules.step_size,
            volatility=wanted.volatility,
        )
        listed.append((rules, made))
    for silent in config.silent:
        listed.append((_made_up_rules(silent.symbol, silent.price), SilentSource(silent.symbol, price=silent.price, start_ms=start_ms)))
    for script in config.scripted:
        source = scripted(script.symbol, script.prices, start_ms=start_ms, history_minutes=config.history_minutes)
        listed.append((_made_up_rules(script.symbol, script.prices[0]), source))
    if len({rules.symbol for rules, _ in listed}) != len(listed):
        raise ConfigError("a symbol is listed twice")
    return start_ms, listed


def continue_clock(config: EmulatorConfig, mark: MarketMark) -> MarketClock:
    """Return the clock of a venue that goes on from a state file.

    Raises:
        ConfigError: the file was kept on a virtual clock and this one is real.
    """
    if mark.stands_at is not None and not config.clock.is_virtual:
        raise ConfigError("the state file was kept on a virtual clock; start it with --clock virtual")
    wall = WallTime(offset_ms=config.clock.offset_ms)
    if config.clock.is_virtual:
        wall = WallTime(stands_at=mark.stands_at if mark.stands_at is not None else wall.now())
    clock = MarketClock(wall, wall_origin=mark.wall_origin, market_origin=mark.market_origin, speed=mark.speed, paused_at=mark.paused_at)
    if clock.speed != config.speed:
        clock.change_speed(config.speed)
    return clock


def start_clock(config: EmulatorConfig, start_ms: int) -> tuple[MarketClock, int]:
    """Return the clock and the shift (market time − source time) of a fresh start; `start_ms` is in the sources' own time."""
    wall = WallTime(offset_ms=config.clock.offset_ms)
    if config.clock.is_virtual:
        wall = WallTime(stands_at=wall.now() if config.is_shifted else start_ms)
    wall_origin = wall.now()
    if not config.is_shifted:
        shift_ms, market_origin = 0, start_ms
    else:
        shift_ms, market_origin = wall_origin // MINUTE_MS * MINUTE_MS - start_ms, wall_origin
    clock = MarketClock(wall, wall_origin=wall_origin, market_origin=market_origin, speed=config.speed)
    if config.is_paused:
        clock.pause()
    return clock, shift_ms


def _start(config: EmulatorConfig, recorded: list[RowSource]) -> int:
    """What is replayed decides the sources' time; all that is made up has candles for any time after the generator's first."""
    first = max((source.first_ms for source in recorded), default=GENERATOR_EPOCH_MS)
    lasts = [source.last_ms for source in recorded if source.last_ms is not None]
    start = config.start_at_ms if config.start_at_ms is not None else first + config.history_minutes * MINUTE_MS
    start -= start % MINUTE_MS
    if start < first or (lasts and start > min(lasts)):
        raise ConfigError(f"the start {start} lies outside the recording, {first} to {min(lasts, default=None)}")
    return start


def _recorded_rules(source: RowSource) -> SymbolRules:
    price_decimals, volume_decimals = source.decimals()
    opening = next(source.bars(source.first_ms, source.first_ms)).open
    return rules_for(source.symbol, price_decimals=price_decimals, quantity_decimals=volume_decimals, price=opening)


def _made_up_rules(symbol: str, price: Decimal) -> SymbolRules:
    # Five significant digits of price, and a step worth about a tenth of a cent of it.
    price_decimals = min(8, max(2, 4 - price.adjusted()))
    quantity_decimals = min(8, max(0, price.adjusted() + 1))
    return rules_for(symbol, price_decimals=price_decimals, quantity_decimals=quantity_decimals, price=price)
