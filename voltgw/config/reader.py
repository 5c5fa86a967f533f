"""What stands around the reading of one file: where problems go, which variables act, which other files were read."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Final, NamedTuple

from yaml.nodes import Node

from voltgw.config.origin import MAX_FILE_BYTES, Source, place_of
from voltgw.errors import ConfigError, Place, Severity


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
    place: Place
    instead: str = ""               # what happens instead, in a few words


#: ``${NAME}``, ``${NAME:-default}``, and ``$${`` which escapes.
_VARIABLE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")


class Reader:
    """Reads the nodes of one file.

    `problems` and `notes` collect what is found; `variables` and `files` remember, for the cache, on which environment
    variables (with the value seen, None = unset) and on which other files (with their SHA-256, "" = unreadable) the result
    depends. `substitute` says whether ``${VAR}`` acts (our own files only).
    """

    __slots__ = ("base", "environ", "files", "notes", "path", "problems", "source", "substitute", "variables")

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

    # -- problems -----------------------------------------------------------------------------------------------------
    def place(self, node: Node) -> Place:
        """Where `node` begins."""
        return place_of(self.source.name, node)

    def wrong(
        self, node: Node, code: str, message: str, hint: str = "", *, related: tuple[tuple[str, Place], ...] = (),
        severity: Severity = Severity.ERROR,
    ) -> Missing:
        """Record a problem at `node`; returns `MISSING` so that readers can end with it."""
        self.problems.append(ConfigError(code, self.place(node), message, hint, severity, "", related))
        return MISSING

    def note(self, state: State, node: Node, value: str = "", instead: str = "") -> None:
        """Record that the field being read (the end of `path`) is in use but not acted on."""
        self.notes.append(Note(state, ".".join(self.path), value, self.place(node), instead))

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
            with open(full, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
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
