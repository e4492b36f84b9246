// Candles of one symbol and timeframe in memory: history from the API, the newest one kept alive from one-minute events.

export const MINUTES = { "1m": 1, "3m": 3, "5m": 5, "10m": 10, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "1d": 1440 };
const MINUTE_MS = 60_000;

export class Candles {
  constructor(timeframe) {
    this.timeframe = timeframe;
    this.length = MINUTES[timeframe] * MINUTE_MS;
    this.byTime = new Map();
    this.minutes = new Map();
  }

  /** Add rows [open_time_ms, o, h, l, c, v] of this timeframe; a row already known is replaced. */
  add(rows) {
    for (const [at, open, high, low, close, volume] of rows) {
      this.byTime.set(Number(at), bar(at, open, high, low, close, volume));
    }
  }

  /** Remember one-minute rows of the running candle, from which it is rebuilt. */
  addMinutes(rows) {
    for (const [at, open, high, low, close, volume] of rows) this.minute(bar(at, open, high, low, close, volume));
  }

  /** Take one one-minute candle, and return the candle of this timeframe it belongs to. */
  minute(candle) {
    const at = this.floor(candle.at);
    for (const known of this.minutes.keys()) if (known < at) this.minutes.delete(known);
    this.minutes.set(candle.at, candle);
    const built = this.merge(at);
    this.byTime.set(at, built);
    return built;
  }

  /** Move the newest candle's close to a traded price; null when that candle is not there yet. */
  tick(price, at) {
    const current = this.byTime.get(this.floor(at));
    if (!current) return null;
    current.close = price;
    current.high = Math.max(current.high, price);
    current.low = Math.min(current.low, price);
    return current;
  }

  floor(at) {
    return at - (at % this.length);
  }

  // Minutes missing at the candle's beginning leave what the API said about it in place.
  merge(at) {
    const parts = [...this.minutes.values()].filter((part) => this.floor(part.at) === at).sort((a, b) => a.at - b.at);
    const known = this.byTime.get(at);
    const isWhole = parts[0].at === at || !known;
    const open = isWhole ? parts[0].open : known.open;
    const seen = isWhole ? parts : [known, ...parts];
    return {
      at,
      time: at / 1000,
      open,
      high: Math.max(...seen.map((part) => part.high)),
      low: Math.min(...seen.map((part) => part.low)),
      close: parts.at(-1).close,
      volume: isWhole ? sum(parts) : Math.max(known.volume, sum(parts)),
    };
  }

  sorted() {
    return [...this.byTime.values()].sort((a, b) => a.at - b.at);
  }
}

export function bar(at, open, high, low, close, volume) {
  return {
    at: Number(at),
    time: Number(at) / 1000,
    open: Number(open),
    high: Number(high),
    low: Number(low),
    close: Number(close),
    volume: Number(volume),
  };
}

function sum(parts) {
  return parts.reduce((total, part) => total + part.volume, 0);
}
