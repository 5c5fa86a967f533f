"""Reading the files of others: bounded, with places, and regular expressions of other engines as RE2 over the whole text."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from voltgw.app.importing.model import MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES, MAX_WORDS, Place, UnreadableError
from voltgw.config import regexes
from voltgw.routing.regex.pattern import PATH, Pattern, Rewrite

#: Times by their unit, in seconds.
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w|y)?")
_SIZES: Final = {"": 1, "b": 1, **{f"{letter}{rest}": 1 << 10 * power for power, letter in enumerate("kmg", 1)
                                   for rest in ("", "b", "ib")}}


class Files:
    """The files of one import: no file is read inside itself, and neither files nor words are without end."""

    def __init__(self) -> None:
        self.folder = ""                # of the first file
        self._stack: list[str] = []
        self._files = 0
        self._words = 0

    def read(self, name: str, place: Place | None = None) -> str:
        """The text of a file, which is then the current one until `done`. Raises UnreadableError, at `place` if given."""
        where = place or Place(name, 1, 1)
        if "\0" in name:
            raise UnreadableError(where, "no file has a name with a NUL in it")
        path = os.path.realpath(name)
        if path in self._stack:
            raise UnreadableError(where, f"{name} includes itself")
        self._files += 1
        if self._files > MAX_FILES:
            raise UnreadableError(where, f"more than {MAX_FILES} files are included")
        if len(self._stack) >= MAX_DEPTH:
            raise UnreadableError(where, f"includes stand more than {MAX_DEPTH} deep")
        try:
            with Path(name).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise UnreadableError(where, f"{name} cannot be read: {error.strerror}") from None
        if len(data) > MAX_FILE_BYTES:
            raise UnreadableError(where, f"{name} has more than {MAX_FILE_BYTES >> 20} MiB")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[:error.start].count(b"\n") + 1
            raise UnreadableError(Place(name, line, 1), "this is not UTF-8 text") from None
        if not self.folder:
            self.folder = os.path.dirname(path)
        self._stack.append(path)
        return text

    def done(self) -> None:
        """The current file has been read."""
        self._stack.pop()

    def count(self, place: Place, words: int = 1) -> None:
        """`words` more have been read. Raises UnreadableError."""
        self._words += words
        if self._words > MAX_WORDS:
            raise UnreadableError(place, f"the files have more than {MAX_WORDS} words")

    def found(self, pattern: str, place: Place) -> list[str]:
        """The files that an include names, in order; a pattern may name none. Raises UnreadableError."""
        path = pattern if os.path.isabs(pattern) else os.path.join(self.folder, pattern)
        if "\0" in path:
            raise UnreadableError(place, "no file has a name with a NUL in it")
        if not any(one in pattern for one in "*?["):
            return [path]
        names = sorted(glob.glob(path))
        if len(names) > MAX_FILES:
            raise UnreadableError(place, f"{pattern} names more than {MAX_FILES} files")
        return names

    def absolute(self, path: str) -> str:
        """`path` from the first file's folder."""
        return os.path.normpath(os.path.join(self.folder, path))


def seconds(text: str, unit: str = "s") -> float:
    """A time such as ``500ms``, ``1m30s`` or a plain number of `unit`. Raises ValueError."""
    total, end = 0.0, 0
    while end < len(text):
        found = _TIME.match(text, end)
        if found is None:
            break
        total += float(found[1]) * _UNITS[found[2] or unit]
        end = found.end()
    if not text or end != len(text) or total > 1e9:
        raise ValueError(f"{text!r} is no time")
    return total


def size(text: str) -> int:
    """A size such as ``8m`` or ``512k`` in bytes. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,12})\s*([a-z]*)", text.lower())
    if found is None or found[2] not in _SIZES:
        raise ValueError(f"{text!r} is no size")
    return int(found[1]) * _SIZES[found[2]]


def whole(pattern: str, *, ignore_case: bool = False) -> str:
    """A pattern of PCRE or Go that is searched for, as RE2 over the whole text. Raises ValueError where RE2 cannot say it."""
    inner = pattern.replace("(?<", "(?P<") if re.search(r"\(\?<[A-Za-z_]", pattern) else pattern
    start, end = "", ""
    if not _alternatives(inner):
        if inner.startswith("^"):
            inner = inner[1:]
        else:
            start = ".*"
        if inner.endswith("$") and not inner.endswith("\\$"):
            inner = inner[:-1]
        else:
            end = ".*"
        if start and inner.startswith(".*"):
            start = ""
        if end and inner.endswith(".*") and not inner.endswith("\\.*"):
            end = ""
    else:
        inner, start, end = f"(?:{inner})", ".*", ".*"
    made = f"{'(?i)' if ignore_case else ''}{start}{inner}{end}"
    try:
        regexes.check(made)
        Pattern(made, PATH)
    except ValueError as error:
        raise ValueError(f"the regular expression {pattern!r} cannot be said in RE2 ({error})") from None
    return made


def rewrite(pattern: str, text: str, starts: Sequence[str]) -> tuple[str, str]:
    """What makes `text` of a whole path in which `pattern` is found; all those paths begin with one of `starts`.

    Raises ValueError where that cannot be said, or would take long.
    """
    start = re.match(r"(/(?:[A-Za-z0-9_/~-]|\\[.-])*)", pattern)
    literal = start[1].replace("\\", "") if start is not None and not re.match(r"[*+?{|]", pattern[start.end():]) else None
    if not pattern.startswith("^"):
        anywhere = not pattern.startswith(("(.*)", ".*")) and (
            literal is None or not starts or not all(each.startswith(literal) for each in starts))
        pattern = f"^.*?(?:{pattern})" if anywhere or _alternatives(pattern) else f"^{pattern}"
    if not pattern.endswith("$"):
        pattern += "$" if pattern.endswith(("(.*)", ".*")) else ".*$"
    try:
        regexes.check(pattern)
        Rewrite(pattern, text)
    except ValueError as error:
        raise ValueError(f"the rewrite of {pattern!r} cannot be said: {error}") from None
    return pattern, text


def _alternatives(pattern: str) -> bool:
    """Whether a ``|`` stands outside all groups, so that anchors belong to one side only."""
    depth, index, in_class = 0, 0, False
    while index < len(pattern):
        one = pattern[index]
        if one == "\\":
            index += 1
        elif in_class:
            in_class = one != "]"
        elif one == "[":
            in_class = True
        elif one in "()":
            depth += 1 if one == "(" else -1
        elif one == "|" and depth == 0:
            return True
        index += 1
    return False


def literal_tail(pattern: str) -> str | None:
    """The literal of a pattern ``^/literal/(.*)$``, which takes all that begins so; None for any other."""
    found = re.fullmatch(r"\^(/(?:[A-Za-z0-9_/~-]|\\[.-]|\.(?!\*))*)(?:\(\?:)?(?:\(\.\*\)|\.\*)\$?", pattern)
    if found is None or "." in found[1].replace("\\.", ""):
        return None
    return found[1].replace("\\", "")
