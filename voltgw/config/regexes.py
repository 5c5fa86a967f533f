"""Regular expressions of users, as far as their text alone tells: RE2's language, and nothing that RE2 does not have.

What a pattern matches and whether it can be matched in linear time is decided where it is put to work (`voltgw.routing.regex`);
here the mistakes are found that people make who think of other languages, with the column.
"""

from __future__ import annotations

import re
from typing import Final

from voltgw.config.formats import Format

#: What stands after ``(?`` in languages that RE2 is not, and what to call it.
_FOREIGN: Final = {
    "=": "look-ahead", "!": "look-ahead", "<=": "look-behind", "<!": "look-behind", ">": "an atomic group",
    "(": "a conditional group", "P=": "a back-reference", "#": "a comment", "R": "a recursion", "&": "a recursion",
    "|": "a branch reset",
}
_REPEAT: Final = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}|[*+?]")


def check(pattern: str) -> str:
    """The pattern, if nothing about it is foreign to RE2 or unfinished; raises ValueError with the reason and the column."""
    groups: list[int] = []
    index, repeatable, repeated = 0, False, False
    while index < len(pattern):
        character = pattern[index]
        if character == "\\":
            index = _escape(pattern, index)
            repeatable, repeated = True, False
        elif character == "[":
            index = _class(pattern, index)
            repeatable, repeated = True, False
        elif character == "(":
            groups.append(index)
            index = _group(pattern, index)
            repeatable, repeated = False, False
        elif character == ")":
            if not groups:
                raise ValueError(f"the ) at column {index + 1} closes nothing")
            groups.pop()
            index += 1
            repeatable, repeated = True, False
        elif match := _REPEAT.match(pattern, index):
            if repeated and character == "+":
                raise ValueError(f"the possessive repeat at column {index + 1} is not part of RE2's language")
            if not repeatable and not (repeated and character == "?"):
                what = "repeats a repeat" if repeated else "has nothing to repeat"
                raise ValueError(f"the {match[0]} at column {index + 1} {what}")
            index = match.end()
            repeatable, repeated = False, True
        else:
            index += 1
            repeatable, repeated = character not in "|^", False
    if groups:
        raise ValueError(f"the ( at column {groups[-1] + 1} is never closed")
    return pattern


def _escape(pattern: str, index: int) -> int:
    """The end of the escape at `index`."""
    following = pattern[index + 1:index + 2]
    if not following:
        raise ValueError("the pattern ends with a single \\")
    if following in "123456789":
        raise ValueError(f"the back-reference \\{following} at column {index + 1} is not part of RE2's language")
    if following == "k":
        raise ValueError(f"the back-reference at column {index + 1} is not part of RE2's language")
    if following == "Z":
        raise ValueError("RE2 writes \\z for the end of the text; a pattern has to match the whole text anyway")
    if following == "Q":
        end = pattern.find("\\E", index)
        return len(pattern) if end < 0 else end + 2
    return index + 2


def _class(pattern: str, start: int) -> int:
    """The end of the character class at `start`."""
    index = start + 1 + pattern.startswith("^", start + 1)
    if pattern.startswith("]", index):
        index += 1
    while index < len(pattern):
        if pattern[index] == "]":
            return index + 1
        if pattern.startswith("[:", index) and (end := pattern.find(":]", index)) > 0:
            index = end + 2
        else:
            index += 1 + (pattern[index] == "\\")
    raise ValueError(f"the [ at column {start + 1} is never closed")


def _group(pattern: str, start: int) -> int:
    """The end of what opens the group at `start`."""
    if not pattern.startswith("(?", start):
        return start + 1
    rest = pattern[start + 2:]
    # The longest first: "<=" before the "<" of a name, which is RE2's own.
    for sign in sorted(_FOREIGN, key=len, reverse=True):
        if rest.startswith(sign):
            raise ValueError(f"{_FOREIGN[sign]} at column {start + 1} is not part of RE2's language")
    match = re.match(r"P?<[A-Za-z_][A-Za-z0-9_]*>|-?[imsU]*(?:-[imsU]+)?:", rest)
    if match:
        return start + 2 + match.end()
    flags = re.match(r"[imsU]*(?:-[imsU]+)?(?=\))", rest)
    if flags and flags[0]:
        return start + 2 + flags.end()
    raise ValueError(f"what follows (? at column {start + 1} has no meaning")


REGEX: Final = Format("regular expression (RE2)", check, schema_format="regex", code="VG0112")
