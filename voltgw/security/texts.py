"""Conditions on texts as service policies have them (objects.md 13.3): values, patterns, and transformers before them."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from voltgw.routing.problems import at
from voltgw.routing.regex.pattern import ANY, Pattern
from voltgw.wire.path import without_dot_segments

if TYPE_CHECKING:
    from voltgw.config.objects.matchers import MatcherType, MatcherTypeBasic

Fits: TypeAlias = "Callable[[bytes], bool]"

_WHITE: Final = b" \t\r\n\f\v"
_slashes: Final = re.compile(rb"//+").sub


def _base64(value: bytes) -> bytes:
    """Decoded; what is no base64 stays as it is."""
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return value


def _without_empty_segments(value: bytes) -> bytes:
    return _slashes(b"/", value)


def _normal(value: bytes) -> bytes:
    """A path without dot segments and without empty ones."""
    value = _without_empty_segments(value)
    return without_dot_segments(value) if value.startswith(b"/") and b"/." in value else value


_STEPS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "LOWER_CASE": bytes.lower,
    "UPPER_CASE": bytes.upper,
    "BASE64_DECODE": _base64,
    "NORMALIZE_PATH": _normal,
    "REMOVE_WHITESPACE": lambda value: value.translate(None, _WHITE),
    "URL_DECODE": unquote_to_bytes,
    "TRIM_LEFT": lambda value: value.lstrip(_WHITE),
    "TRIM_RIGHT": lambda value: value.rstrip(_WHITE),
    "TRIM": lambda value: value.strip(_WHITE),
}


def transformer(names: Sequence[str], *, dots: bool = True) -> Callable[[bytes], bytes] | None:
    """All of them, in their order; None = the value stays as it is. Without `dots`, NORMALIZE_PATH leaves dot segments."""
    steps = tuple(_STEPS[name] if dots or name != "NORMALIZE_PATH" else _without_empty_segments
                  for name in names if name != "TRANSFORMER_NONE")
    if not steps:
        return None

    def transform(value: bytes) -> bytes:
        for step in steps:
            value = step(value)
        return value

    return transform


def patterns(texts: Sequence[str], *, any_case: bool = False) -> tuple[Pattern, ...]:
    """Each covers the whole value. Raises ValueError with the way to the one that is wrong."""
    made = []
    for number, text in enumerate(texts):
        with at("regex_values", number):
            made.append(Pattern(f"(?i){text}" if any_case else text, ANY))
    return tuple(made)


def fits(spec: MatcherType | MatcherTypeBasic, *, any_case: bool = False) -> Fits | None:
    """Whether a value is one that `spec` asks for; None when it asks for nothing. `any_case` is for host names."""
    if not spec.exact_values and not spec.regex_values:
        return None
    exact = frozenset((text.lower() if any_case else text).encode("utf-8") for text in spec.exact_values)
    regexes = tuple(pattern.matches for pattern in patterns(spec.regex_values, any_case=any_case))
    transform = transformer(getattr(spec, "transformers", ()))

    def test(value: bytes) -> bool:
        if transform is not None:
            value = transform(value)
        return value in exact or any(bool(matches(value)) for matches in regexes)

    return test


def words(spec: MatcherType | MatcherTypeBasic) -> str:
    """What it asks for, for people."""
    parts = [repr(text) for text in spec.exact_values] + [f"/{text}/" for text in spec.regex_values]
    shown = ", ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")
    return f"one of {shown}" if len(parts) > 1 else shown
