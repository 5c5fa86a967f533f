"""Did you mean …? The nearest of a set of names."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `word` was most likely meant to be; None when nothing is near.

    Case and the choice between ``-``, ``_``, ``.`` and a space do not count; otherwise about one mistake in three
    letters is bridged. Cost grows with the number of names: call it for error messages only.
    """
    folded = _fold(word)
    limit = max(1, len(folded) // 3)
    best: str | None = None
    best_distance = limit + 1
    for name in names:
        other = _fold(name)
        if other == folded:
            return name
        if abs(len(other) - len(folded)) >= best_distance:
            continue
        distance = _distance(folded, other, best_distance)
        if distance < best_distance:
            best, best_distance = name, distance
    return best


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The hint of an error message, or ""."""
    name = nearest(word, names)
    return f'did you mean "{name}"?' if name is not None else ""


def _fold(word: str) -> str:
    return word.lower().translate({ord("-"): "_", ord(" "): "_", ord("."): "_"})


def _distance(a: str, b: str, bound: int) -> int:
    """Edits (insert, delete, replace, swap neighbours) from `a` to `b`; `bound` when it is that or more."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) >= bound:
            return bound
        before, last = last, row
    return min(last[-1], bound)
