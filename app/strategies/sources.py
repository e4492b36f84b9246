"""Sources as text: their digest, and what differs between two of them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

#: Lines compared for one difference. difflib has no such bound, and two sources that somebody chose keep it busy for hours.
_MOST_COMPARED: Final = 400_000
_CONTEXT: Final = 3

Kind = Literal["same", "removed", "added"]


def digest(source: str) -> str:
    """Return the SHA-256 of a source in UTF-8, as hexadecimal digits."""
    return hashlib.sha256(source.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a difference. Its number is that in the old source (`old`) and in the new one, counted from 1; None where it is not."""

    kind: Kind
    old: int | None
    new: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changed from one source to another: pieces of lines that changed, with three unchanged ones around them."""

    added: int
    removed: int
    hunks: tuple[tuple[Line, ...], ...]

    def unified(self, old_name: str, new_name: str) -> str:
        """Return it as `diff -u` writes it; empty when nothing changed."""
        if not self.hunks:
            return ""
        lines = [f"--- {old_name}", f"+++ {new_name}"]
        for hunk in self.hunks:
            lines.append(_header(hunk))
            lines += [{"same": " ", "removed": "-", "added": "+"}[line.kind] + line.text for line in hunk]
        return "\n".join(lines) + "\n"


def _header(hunk: tuple[Line, ...]) -> str:
    spans = []
    for numbers in ([line.old for line in hunk], [line.new for line in hunk]):
        present = [number for number in numbers if number is not None]
        start = present[0] if present else 0
        spans.append(f"{start},{len(present)}")
    return f"@@ -{spans[0]} +{spans[1]} @@"


def difference(old: str, new: str) -> Difference:
    """Return what differs between two sources, line by line. Where they have very little in common, all of the middle is replaced."""
    lines = list(_script(old.split("\n"), new.split("\n")))
    changed = [place for place, line in enumerate(lines) if line.kind != "same"]
    hunks: list[tuple[Line, ...]] = []
    begin = end = -1
    for place in changed:
        if place - _CONTEXT > end and end >= 0:
            hunks.append(tuple(lines[begin:end]))
            begin = -1
        if begin < 0:
            begin = max(place - _CONTEXT, 0)
        end = min(place + _CONTEXT + 1, len(lines))
    if changed:
        hunks.append(tuple(lines[begin:end]))
    counts = {kind: sum(line.kind == kind for line in lines) for kind in ("added", "removed")}
    return Difference(added=counts["added"], removed=counts["removed"], hunks=tuple(hunks))


def _script(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    """Yield all lines of both, in order."""
    shorter = min(len(old), len(new))
    head = next((place for place in range(shorter) if old[place] != new[place]), shorter)
    left = shorter - head
    tail = next((place for place in range(left) if old[-1 - place] != new[-1 - place]), left)
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    for place in range(head):
        yield Line("same", place + 1, place + 1, old[place])
    for kind, old_place, new_place in _edits(middle_old, middle_new):
        text = middle_new[new_place] if kind == "added" else middle_old[old_place]
        yield Line(kind, None if kind == "added" else head + old_place + 1, None if kind == "removed" else head + new_place + 1, text)
    for place in range(-tail, 0):
        yield Line("same", len(old) + place + 1, len(new) + place + 1, old[place])


def _edits(old: Sequence[str], new: Sequence[str]) -> list[tuple[Kind, int, int]]:
    """Return the shortest way from one to the other, or the plain one where that is too far to look for.

    Source: E. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986, the greedy algorithm.
    """
    furthest, trail, compared = {1: 0}, [], 0
    for distance in range(len(old) + len(new) + 1):
        trail.append(dict(furthest))
        for diagonal in range(-distance, distance + 1, 2):
            is_down = diagonal == -distance or (diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1])
            x = furthest[diagonal + 1] if is_down else furthest[diagonal - 1] + 1
            y = x - diagonal
            begin = x
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            furthest[diagonal] = x
            compared += x - begin + 1
            if x >= len(old) and y >= len(new):
                return _walked_back(trail, len(old), len(new))
        # The trail takes memory with the square of the distance, so this bounds both.
        if compared + distance * distance > _MOST_COMPARED:
            break
    return [("removed", place, 0) for place in range(len(old))] + [("added", len(old), place) for place in range(len(new))]


def _walked_back(trail: list[dict[int, int]], x: int, y: int) -> list[tuple[Kind, int, int]]:
    edits: list[tuple[Kind, int, int]] = []
    for distance in range(len(trail) - 1, -1, -1):
        furthest, diagonal = trail[distance], x - y
        is_down = diagonal == -distance or (diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1])
        before = diagonal + 1 if is_down else diagonal - 1
        last_x = furthest[before] if distance else 0
        last_y = last_x - before if distance else 0
        while x > last_x and y > last_y:
            x, y = x - 1, y - 1
            edits.append(("same", x, y))
        if distance:
            edits.append(("added", x, last_y) if is_down else ("removed", last_x, y))
            x, y = last_x, last_y
    return edits[::-1]
