"""Which weights an endpoint may have, wherever they were said: in a file, on a label, by a registry."""

from __future__ import annotations

from typing import Final

#: The largest; the least is 0, which gets nothing.
MOST_WEIGHT: Final = 65_535


def read_weight(said: object) -> int:
    """The weight that `said` (a number, or the text of one) stands for. Raises ValueError with the reason.

    Whole numbers from 0 to 65535 in decimal digits are weights. NaN, infinities, fractions, signs and anything larger are not:
    one endpoint that says a huge number must not take all of the traffic, and one that says nonsense must not take none.
    """
    if isinstance(said, bool) or not isinstance(said, (int, float, str)):
        raise ValueError(f"{said!r} is no number")
    text = said.strip() if isinstance(said, str) else str(said)
    if text.endswith(".0"):
        text = text[:-2]                    # some registries keep every number as a float
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{said!r} is no whole number from 0 to {MOST_WEIGHT}")
    if len(text) > 10 or int(text) > MOST_WEIGHT:
        raise ValueError(f"{text[:20]} is more than {MOST_WEIGHT}")
    return int(text)
