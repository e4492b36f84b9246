"""Search over the symbols of an exchange, in memory: no answer looks at all of them.

Symbols lie in alphabetical order, so that what begins with a text is a range found by halving; the rest is found in one long text that
holds them all. PostgreSQL without pg_trgm, which the private server does not have, would read every row for that.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from app.domain.instruments import Instrument

_END: Final = chr(0x10FFFF)
#: What traders write between base and quote instead of a slash.
_SEPARATORS: Final = str.maketrans("-_ ", "///")


@dataclass(frozen=True, slots=True)
class SymbolPage:
    """Instruments found, in order, and whether more follow."""

    rows: tuple[Instrument, ...]
    has_more: bool


class _Index:
    """Some instruments in the order of their symbols."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._rows = sorted(instruments, key=lambda found: (found.symbol.upper(), found.symbol))
        self._keys = [found.symbol.upper() for found in self._rows]
        # Each symbol as it is written with a slash and without one; no search text holds the signs between them.
        lines = [f"\n{key}\t{found.base}{found.quote}".upper() for key, found in zip(self._keys, self._rows, strict=True)]
        self._text = "".join(lines)
        self._starts = [0]
        for line in lines:
            self._starts.append(self._starts[-1] + len(line))

    def page(self, wanted: str, *, after: str | None, limit: int) -> SymbolPage:
        prefixes = _prefixes(wanted)
        ranges = sorted((bisect_left(self._keys, prefix), bisect_left(self._keys, prefix + _END)) for prefix in prefixes)
        found: list[Instrument] = []
        for place in self._places(wanted, ranges, is_past_first=self._is_past_first(after, prefixes), begin=self._after(after)):
            if len(found) == limit:
                return SymbolPage(tuple(found), has_more=True)
            found.append(self._rows[place])
        return SymbolPage(tuple(found), has_more=False)

    def _after(self, after: str | None) -> int:
        """The place behind a symbol, whether or not that one is still listed."""
        return 0 if after is None else bisect_right(self._keys, after.upper())

    @staticmethod
    def _is_past_first(after: str | None, prefixes: list[str]) -> bool:
        return after is not None and not after.upper().startswith(tuple(prefixes))

    def _places(self, wanted: str, ranges: list[tuple[int, int]], *, is_past_first: bool, begin: int) -> Iterator[int]:
        """First what begins with the text, then what holds it; `begin` is a place among the first or, past them, among the others."""
        if not is_past_first:
            for start, stop in ranges:
                yield from range(max(start, begin), stop)
            begin = 0
        if wanted:
            yield from self._others(wanted, ranges, begin)

    def _others(self, wanted: str, ranges: list[tuple[int, int]], place: int) -> Iterator[int]:
        while (hit := self._text.find(wanted, self._starts[place])) >= 0:
            place = bisect_right(self._starts, hit) - 1
            passed = next((stop for start, stop in ranges if start <= place < stop), None)
            if passed is None:
                yield place
                place += 1
            else:
                place = passed


class SymbolSearch:
    """The symbols of one exchange that trade, by text and by quote asset. Built once for each list."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        trading = [found for found in instruments if found.is_active]
        by_quote: defaultdict[str, list[Instrument]] = defaultdict(list)
        for found in trading:
            by_quote[found.quote.upper()].append(found)
        self._all = _Index(trading)
        self._by_quote = {quote: _Index(rows) for quote, rows in by_quote.items()}
        self.total = len(trading)
        counts = Counter({quote: len(rows) for quote, rows in by_quote.items()})
        #: Quote assets and how many symbols each has, the largest first.
        self.quotes: tuple[tuple[str, int], ...] = tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    def page(self, *, search: str = "", quote: str = "", after: str | None = None, limit: int) -> SymbolPage:
        """Return symbols in alphabetical order, those that begin with `search` before those that only hold it.

        `BTCUSDT`, `btc/usdt` and `BTC-USDT` find the same. `after` is the last symbol of the page before; `quote` a quote asset.
        """
        index = self._by_quote.get(quote.strip().upper()) if quote.strip() else self._all
        wanted = search.strip().upper()
        if index is None or "\n" in wanted or "\t" in wanted:
            return SymbolPage((), has_more=False)
        found = index.page(wanted, after=after, limit=limit)
        slashed = wanted.translate(_SEPARATORS)
        return index.page(slashed, after=after, limit=limit) if not found.rows and slashed != wanted else found


def _prefixes(wanted: str) -> list[str]:
    """How a symbol begins that begins with the text, wherever its slash may be. Of two of these none begins with the other."""
    return [wanted, *(f"{wanted[:cut]}/{wanted[cut:]}" for cut in range(1, len(wanted)) if "/" not in wanted)]
