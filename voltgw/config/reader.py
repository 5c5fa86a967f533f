"""What stands around the reading of one file: where problems go, which variables act, which other files were read."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from yaml.nodes import Node

from voltgw.config.origin import MAX_FILE_BYTES, Source, contents
from voltgw.config.places import pack
from voltgw.errors import ConfigError, Place, Severity

if TYPE_CHECKING:
    from voltgw.config.places import Origin


class State(Enum):
    """What voltgw does with a field or kind (or with one value of a field) that it knows."""

    ACTS = "acted on"
    WARNS = "not acted on: a warning says so"
    REFUSES = "not acted on, and it exists to refuse someone: an error unless `gateway.allow_unenforced` names it"
    UNSUPPORTED = "not supported yet: an error"


#: For declarations, which name a state on many lines.
WARNS: Final = State.WARNS
REFUSES: Final = State.REFUSES
UNSUPPORTED: Final = State.UNSUPPORTED


class Missing(Enum):
    """The result of reading something that was wrong; its problem has been recorded."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


class Note(NamedTuple):
    """A field in use that is not (fully) acted on; the loader turns it into a warning or an error, see `State`."""

    state: State
    field: str                      # "virtual_host.waf_type.app_firewall"
    value: str                      # the enum spelling that is not acted on, "" when it is the field as a whole
    instead: str                    # what happens instead, in a few words
    whence: Place | Origin
    at: int                         # place inside the object of an Origin

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.whence if isinstance(self.whence, Place) else self.whence.inside(self.at)


#: ``${NAME}``, ``${NAME:-default}``, and ``$${`` which escapes.
_VARIABLE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")


class Reader:
    """Reads the nodes of one file.

    `problems` and `notes` collect what is found; `variables` and `files` remember, for the cache, on which environment
    variables (with the value seen, None = unset) and on which other files (with their SHA-256, "" = unreadable) the result
    depends. `substitute` says whether ``${VAR}`` acts (our own files only).

    `first_line` and `first_index` are the line and the character of the file (from 0) at which the parsed text begins. While
    an object is read, `origin` is its origin and `start` the line of the parsed text on which it begins: places inside it
    are kept relative to that.
    """

    __slots__ = ("base", "environ", "files", "first_index", "first_line", "notes", "origin", "path", "problems", "source",
                 "start", "substitute", "variables")

    def __init__(self, source: Source, environ: Mapping[str, str], base: str, *, substitute: bool) -> None:
        self.source = source
        self.environ = environ
        self.base = base                            # the folder that relative paths are relative to
        self.substitute = substitute
        self.problems: list[ConfigError] = []
        self.notes: list[Note] = []
        self.path: list[str] = []                   # names of the fields on the way to the value being read
        self.variables: dict[str, str | None] = {}
        self.files: dict[str, str] = {}
        self.first_line = 0
        self.first_index = 0
        self.origin: Origin | None = None
        self.start = 0

    # -- places -------------------------------------------------------------------------------------------------------
    def place(self, node: Node) -> Place:
        """Where `node` begins."""
        mark = node.start_mark
        return Place(self.source.name, mark.line + self.first_line + 1, mark.column + 1)

    def at(self, node: Node) -> int:
        """Where `node` begins, for a message's `at`: relative to the object being read, else absolute."""
        mark = node.start_mark
        if self.origin is None:
            return pack(mark.line + self.first_line + 1, mark.column + 1)
        return pack(mark.line - self.start, mark.column + 1)

    # -- problems -----------------------------------------------------------------------------------------------------
    def wrong(
        self, node: Node, code: str, message: str, hint: str = "", *, related: tuple[tuple[str, Place], ...] = (),
        severity: Severity = Severity.ERROR,
    ) -> Missing:
        """Record a problem at `node`; returns `MISSING` so that readers can end with it."""
        self.problems.append(ConfigError(code, self.place(node), message, hint, severity, "", related))
        return MISSING

    def note(self, state: State, node: Node, value: str = "", instead: str = "") -> None:
        """Record that the field being read (the end of `path`) is in use but not acted on."""
        whence: Place | Origin = self.place(node) if self.origin is None else self.origin
        self.notes.append(Note(state, ".".join(self.path), value, instead, whence, self.at(node)))

    @contextmanager
    def below(self, name: str) -> Iterator[None]:
        """While it is open, fields are named as parts of `name`."""
        self.path.append(name)
        try:
            yield
        finally:
            self.path.pop()

    # -- scalars ------------------------------------------------------------------------------------------------------
    def scalar(self, node: Node) -> str | Missing:
        """The text of a scalar with its variables replaced."""
        value: str = node.value
        if self.substitute and "${" in value:
            return self._replaced(node, value)
        return value

    def _replaced(self, node: Node, value: str) -> str | Missing:
        failed = False

        def one(match: re.Match[str]) -> str:
            nonlocal failed
            if match[0] == "$${":
                return "${"
            name, default = match[1], match[2]
            if name is None:
                failed = True
                self.wrong(node, "VG0008", f"{value!r} has a ${{ without a name and a closing brace",
                           "write ${NAME}, ${NAME:-default}, or $${ for the two characters themselves")
                return ""
            found = self.environ.get(name)
            self.variables[name] = found
            if found is None:
                if default is None:
                    failed = True
                    self.wrong(node, "VG0008", f"the environment variable {name} is not set",
                               f"set it, or give a default: ${{{name}:-value}}")
                    return ""
                return default
            return found

        result = _VARIABLE.sub(one, value)
        return MISSING if failed else result

    # -- other files --------------------------------------------------------------------------------------------------
    def fetch(self, node: Node, path: str) -> bytes | Missing:
        """The content of a file that a value refers to; relative to the file it stands in."""
        full = os.path.normpath(os.path.join(self.base, path))
        try:
            data = contents(full)
        except OSError as error:
            self.files[full] = ""
            return self.wrong(node, "VG0002", f"{path} cannot be read: {error.strerror or error}")
        self.files[full] = hashlib.sha256(data).hexdigest()
        if len(data) > MAX_FILE_BYTES:
            return self.wrong(node, "VG0004", f"{path} has more than {MAX_FILE_BYTES} bytes")
        return data

    def variable(self, node: Node, name: str) -> str | Missing:
        """The value of an environment variable that an ``env:`` URL names."""
        found = self.environ.get(name)
        self.variables[name] = found
        if found is None:
            return self.wrong(node, "VG0008", f"the environment variable {name} is not set")
        return found
