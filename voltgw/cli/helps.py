"""What the commands say of themselves (``--help``), as values: shells complete by it."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

#: So wide that argparse breaks no line.
_WIDTH: Final = "1000"
_ENTRY: Final = re.compile(r" {2,4}(\S.*?)(?: {2,}(\S.*))?")
_OPTION: Final = re.compile(r"(--?[A-Za-z][\w-]*)(?: (\{[^}]*\}|\[?[A-Z][\w:. -]*\]?))?")
#: Values that are files or folders, by what they are called.
FILES: Final = frozenset(("FILE", "FILES", "FOLDER", "PATH", "OLD", "NEW", "CASES", "SCENARIO", "ACCESS_LOG"))


class Option(NamedTuple):
    """An option: its names, what its value is called ("" = it has none), the values that it may have, what it does."""

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    doc: str


class Argument(NamedTuple):
    """A place on the command line: what it is called, the words that may stand there, whether they may stand there again."""

    name: str
    choices: tuple[str, ...]
    doc: str


class Help(NamedTuple):
    """A command: its options, its arguments, and the actions that it has, each with a help of its own."""

    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    actions: dict[str, tuple[str, Help]]

    @property
    def words(self) -> tuple[str, ...]:
        """The words that may stand at its arguments' places."""
        return tuple(dict.fromkeys(word for argument in self.arguments for word in argument.choices))

    @property
    def takes_files(self) -> bool:
        """Whether a file may be one of its arguments."""
        return any(is_file(argument.name) for argument in self.arguments)


def is_file(name: str) -> bool:
    """Whether what is called so is a file or a folder."""
    return any(word in FILES for word in re.findall(r"[A-Z_]+", name))


def told(command: Callable[[list[str]], object], *words: str) -> Help:
    """What ``COMMAND WORDS --help`` tells; `command` is the command's ``run``."""
    options: list[Option] = []
    arguments: list[Argument] = []
    actions: dict[str, tuple[str, Help]] = {}
    part = ""
    for line, deeper in _lines(_printed(command, [*words, "--help"])):
        if line.endswith(":") and not line.startswith(" "):
            part = line
            continue
        found = _ENTRY.fullmatch(line)
        if found is None:
            continue
        name, doc = found[1], " ".join(filter(None, (found[2], deeper)))
        if name.startswith("-"):
            names = _OPTION.findall(name)
            value = next((text for _, text in names if text), "")
            options.append(Option(tuple(each for each, _ in names), value.strip("{}[]"), _choices(value), doc))
        elif part == "positional arguments:" and line.startswith("    "):
            actions[name] = (doc, told(command, *words, name))
        elif part == "positional arguments:":
            arguments.append(Argument(name.strip("[]"), _choices(name) or _listed(doc), doc))
    if actions:
        arguments = [each for each in arguments if each.doc]            # the place of the actions is none of its own
    return Help(tuple(options), tuple(arguments), actions)


def _printed(command: Callable[[list[str]], object], arguments: list[str]) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            command(arguments)
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return out.getvalue()


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Lines with the text that stands deeper below them."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if line.startswith(" " * 8):
            continue
        following = lines[index + 1] if index + 1 < len(lines) else ""
        yield line, following.strip() if following.startswith(" " * 8) else ""


def _choices(text: str) -> tuple[str, ...]:
    return tuple(text[1:-1].split(",")) if text.startswith("{") and text.endswith("}") else ()


def _listed(doc: str) -> tuple[str, ...]:
    """The words of a text that is a list of words."""
    text = doc.partition(";")[0].replace(", or one of ", ", ").replace("one of ", "")
    return tuple(text.split(", ")) if re.fullmatch(r"[a-z][\w-]*(?:, [a-z][\w-]*)+", text) else ()
