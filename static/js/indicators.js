// Indicators as steps: a state and a close give the next state and a value (null while there are too few). So the newest candle can be
// drawn again and again without looking at the others.

const steps = {
  /** Exponential moving average, begun with the plain average of the first `n`. */
  ema: (n) => ({
    first: { count: 0, sum: 0, value: null },
    step(state, close) {
      const count = state.count + 1;
      const sum = count <= n ? state.sum + close : 0;
      const value = count < n ? null : count === n ? sum / n : state.value + (2 / (n + 1)) * (close - state.value);
      return [{ count, sum, value }, value];
    },
  }),
  /** Wilder's relative strength index, 0 to 100. */
  rsi: (n) => ({
    first: { count: -1, last: 0, gain: 0, loss: 0 },
    step(state, close) {
      const count = state.count + 1;
      if (count === 0) return [{ ...state, count, last: close }, null];
      const up = Math.max(close - state.last, 0);
      const down = Math.max(state.last - close, 0);
      const isWarm = count > n;
      const gain = isWarm ? (state.gain * (n - 1) + up) / n : state.gain + up / n;
      const loss = isWarm ? (state.loss * (n - 1) + down) / n : state.loss + down / n;
      const value = count < n ? null : loss === 0 ? (gain === 0 ? 50 : 100) : 100 - 100 / (1 + gain / loss);
      return [{ count, last: close, gain, loss }, value];
    },
  }),
  /** Bollinger bands: the mean of `n` closes, and two (population) standard deviations around it. */
  bollinger: (n) => ({
    first: [],
    step(state, close) {
      const window = [...state, close].slice(-n);
      if (window.length < n) return [window, null];
      const middle = window.reduce((sum, value) => sum + value, 0) / n;
      const deviation = Math.sqrt(window.reduce((sum, value) => sum + (value - middle) ** 2, 0) / n);
      return [window, { middle, upper: middle + 2 * deviation, lower: middle - 2 * deviation }];
    },
  }),
};

/** One indicator over candles. */
export class Indicator {
  constructor(kind, period) {
    this.rule = steps[kind](period);
  }

  /** Take all candles, oldest first, and return [{time, value}], those with a value only. */
  reset(candles) {
    let state = this.rule.first;
    let value = null;
    this.before = state;
    this.last = candles.at(-1) ?? null;
    const points = [];
    for (const candle of candles) {
      this.before = state;
      [state, value] = this.rule.step(state, candle.close);
      if (value !== null) points.push({ time: candle.time, value });
    }
    this.after = state;
    return points;
  }

  /** Take the newest candle, again or for the first time, and return its point, or null. */
  update(candle) {
    if (this.last && candle.time > this.last.time) this.before = this.after;
    const [state, value] = this.rule.step(this.before, candle.close);
    this.after = state;
    this.last = candle;
    return value === null ? null : { time: candle.time, value };
  }
}
