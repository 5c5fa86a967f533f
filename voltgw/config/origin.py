"""Text to YAML nodes with their places; hostile files are refused here.

PyYAML's C parser does the work, with a resolver of our own that guesses nothing: a node's tag only says whether a scalar
was written plain or quoted, and the schema of its field says what it means. So ``NO``, ``010`` and ``22:22`` stay what the
user wrote. JSON is read by the same parser, as the subset of YAML that it is.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from bisect import bisect_right
from collections.abc import Generator, Iterator
from typing import Final

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from voltgw.errors import ConfigError, Place, Severity

#: Largest file that is read. 10,000 hosts with all their objects are about 10 MB.
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
#: Deepest nesting. The deepest object of the model has about 15 levels; libyaml itself stops at 1,000.
MAX_DEPTH: Final = 64
#: Most values that aliases may stand for altogether in one file, beyond those that are written out (alias bombs).
MAX_ALIASED: Final = 100_000
#: Events of the parser in one step, which is about 1 ms.
_EVENTS: Final = 1024

#: Tags that our resolver gives; every other tag was written in the file and is refused.
PLAIN: Final = "plain"
QUOTED: Final = "quoted"
COLLECTION: Final = "collection"

NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_NOT_IN_ANCHORS: Final = frozenset(" \t\r\n[]{},")
_SURROGATES: Final = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_UNPAIRED: Final = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def contents(path: str) -> bytes:
    """The bytes of a file, or its first `MAX_FILE_BYTES` + 1 if it has more. Raises OSError."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        # Asking for as much as is allowed would have that much memory set aside for every small file; what has no size is a
        # pipe or a file of /proc.
        return file.read(min(size, MAX_FILE_BYTES) + 1) if size else file.read(MAX_FILE_BYTES + 1)


class Source:
    """The text of one file; `name` is what places show, `digest` the SHA-256 of its bytes in hexadecimal."""

    __slots__ = ("_starts", "digest", "name", "text")

    def __init__(self, name: str, text: str, digest: str) -> None:
        self.name = name
        self.text = text
        self.digest = digest
        self._starts: list[int] = []

    @classmethod
    def decode(cls, name: str, data: bytes, digest: str = "") -> Source:
        """The source of `data`; raises `Unreadable` when it is too large or not UTF-8. Who has its `digest` hands that in."""
        if len(data) > MAX_FILE_BYTES:
            raise Unreadable(ConfigError(
                "VG0004", Place(name), f"the file has {len(data)} bytes; at most {MAX_FILE_BYTES} are read",
                "spread the objects over several files and name them under `include:`",
            ))
        try:
            text = data.removeprefix(codecs.BOM_UTF8).decode()
        except UnicodeDecodeError as error:
            read = error.object
            line = read.count(b"\n", 0, error.start) + 1
            column = error.start - (read.rfind(b"\n", 0, error.start) + 1) + 1
            raise Unreadable(ConfigError(
                "VG0003", Place(name, line, column), f"byte 0x{read[error.start]:02x} is not UTF-8 text",
                "save the file as UTF-8",
            )) from None
        if name.endswith(".json"):
            # JSON writes characters beyond U+FFFF as two halves, which YAML's parsers refuse.
            text = _SURROGATES.sub(_joined, text)
            if match := _UNPAIRED.search(text):
                source = cls(name, text, "")
                raise Unreadable(source.error("VG0001", match.start(), "half a surrogate pair is no character"))
        return cls(name, text, digest or hashlib.sha256(data).hexdigest())

    def line(self, number: int) -> str:
        """Line `number` (from 1) without its end, "" when there is none."""
        if not self._starts:
            self._starts = [0, *(match.end() for match in re.finditer(r"\r\n|\n|\r", self.text))]
        if not 0 < number <= len(self._starts):
            return ""
        end = self._starts[number] if number < len(self._starts) else len(self.text)
        return self.text[self._starts[number - 1]:end].rstrip("\r\n")

    def place_at(self, index: int) -> Place:
        """The place of the character at `index`."""
        self.line(1)
        number = bisect_right(self._starts, index)
        return Place(self.name, number, index - self._starts[number - 1] + 1)

    def error(self, code: str, index: int, message: str, hint: str = "") -> ConfigError:
        """An error at the character `index`."""
        place = self.place_at(index)
        return ConfigError(code, place, message, hint, Severity.ERROR, self.line(place.line))


class Unreadable(Exception):
    """A file, or the rest of it, cannot be taken apart; `problem` says why and where."""

    def __init__(self, problem: ConfigError) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Parser(CParser):
    """libyaml with a resolver that only tells plain scalars from quoted ones."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)

    def resolve(self, kind: type[Node], value: str, implicit: tuple[bool, bool] | bool) -> str:
        if kind is not ScalarNode:
            return COLLECTION
        return PLAIN if implicit[0] else QUOTED         # type: ignore[index]

    def descend_resolver(self, current_node: Node, current_index: object) -> None:
        """Path resolvers are not used; the parser calls this for every node."""

    def ascend_resolver(self) -> None:
        """See `descend_resolver`."""


def documents(source: Source) -> Iterator[Node]:
    """The root nodes of the documents in `source`, in order; empty documents are left out.

    Raises `Unreadable` at the first thing that is not YAML, that nests deeper than `MAX_DEPTH`, or that its aliases
    blow up. Tags are refused where values are read, since only there the path to them is known.
    """
    parser = _Parser(source.text)
    aliases = has_anchor(source.text)
    try:
        while parser.check_node():
            root = parser.get_node()
            if root is None or is_null(root):
                continue
            _measure(source, root, aliases)
            yield root
    except yaml.MarkedYAMLError as error:
        raise Unreadable(_syntax(source, error)) from None
    except yaml.reader.ReaderError as error:
        raise Unreadable(_character(source, error)) from None
    finally:
        parser.dispose()


def unreadable(source: Source) -> Generator[None, None, ConfigError | None]:
    """What `documents` would say of a text without anchors that is no YAML, in steps; None if it is."""
    parser = _Parser(source.text)
    try:
        count = 0
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.AliasEvent):
                raise yaml.composer.ComposerError(None, None, "found undefined alias", event.start_mark)     # type: ignore[arg-type]
            count += 1
            if count % _EVENTS == 0:
                yield
    except yaml.MarkedYAMLError as error:
        return _syntax(source, error)
    except yaml.reader.ReaderError as error:
        return _character(source, error)
    finally:
        parser.dispose()
    return None


def has_anchor(text: str) -> bool:
    """Whether something in it looks like an anchor: few files have one, and only those can have aliases."""
    at = text.find("&")
    while at >= 0:
        if (at == 0 or text[at - 1].isspace() or text[at - 1] in "[{,:-") and text[at + 1:at + 2] not in _NOT_IN_ANCHORS:
            return True
        at = text.find("&", at + 1)
    return False


def place_of(source_name: str, node: Node) -> Place:
    """Where `node` begins."""
    mark = node.start_mark
    return Place(source_name, mark.line + 1, mark.column + 1)


def is_null(node: Node) -> bool:
    """Whether it is a null of YAML 1.2's core schema: nothing at all, ``~`` or ``null``, unquoted."""
    return node.tag == PLAIN and node.value in NULLS


def describe(node: Node) -> str:
    """What a node is, in the words of an error message."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    text = node.value if len(node.value) <= 40 else node.value[:37] + "..."
    return f'"{text}"' if text else "an empty string"


def _joined(match: re.Match[str]) -> str:
    high, low = int(match[1], 16), int(match[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"


def _measure(source: Source, root: Node, aliases: bool) -> None:
    """Refuse what is too deep, what contains itself and what its aliases blow up.

    Without anchors (the common case by far) libyaml's nesting limit alone bounds a tree, and MAX_DEPTH is checked on the
    way by those who read it; so only files with anchors pay for this walk.
    """
    if not aliases:
        return
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()
    written = 0

    def visit(node: Node, depth: int) -> int:
        nonlocal written
        key = id(node)
        if key in open_nodes:
            raise Unreadable(_at(source, node, "VG0004", "this value contains itself by an alias"))
        if key in sizes:
            return sizes[key]
        written += 1
        if isinstance(node, ScalarNode):
            total = 1
        else:
            if depth > MAX_DEPTH:
                raise Unreadable(too_deep(source, node))
            open_nodes.add(key)
            total = 1
            for item in node.value:
                if isinstance(node, MappingNode):
                    total += visit(item[0], depth + 1) + visit(item[1], depth + 1)
                else:
                    total += visit(item, depth + 1)
            open_nodes.discard(key)
        sizes[key] = total
        return total

    total = visit(root, 0)
    if total - written > MAX_ALIASED:
        raise Unreadable(_at(
            source, root, "VG0004", f"its aliases stand for {total} values; at most {MAX_ALIASED} are allowed",
        ))


def too_deep(source: Source, node: Node) -> ConfigError:
    """The error for a value below `MAX_DEPTH` levels."""
    return _at(source, node, "VG0004", f"values are nested more than {MAX_DEPTH} levels deep")


def _at(source: Source, node: Node, code: str, message: str) -> ConfigError:
    place = place_of(source.name, node)
    return ConfigError(code, place, message, source=source.line(place.line))


#: libyaml's words, and what they usually mean to the person who wrote the file.
_ADVICE: Final = (
    ("found character that cannot start any token", "a tab may not indent, and @, ` and % need quotes around the value"),
    ("mapping values are not allowed", "is the line above indented differently, or does a value with a colon need quotes?"),
    ("did not find expected key", "is this line indented like its neighbours?"),
    ("did not find expected '-' indicator", "is this line indented like its neighbours?"),
    ("could not find expected ':'", "is a colon missing after the key, or a space after the colon?"),
    ("found undefined alias", "a value that begins with * needs quotes"),
    ("unexpected end of stream", "a quote or bracket that was opened here is never closed"),
    ("did not find expected ',' or", "a comma or the closing bracket is missing before this"),
)


def _syntax(source: Source, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    problem = error.problem or "not YAML"
    if "nesting depth" in problem:
        return ConfigError("VG0004", Place(source.name, line, column), f"values are nested more than {MAX_DEPTH} levels deep")
    hint = next((advice for words, advice in _ADVICE if words in problem), "")
    if line and not source.line(line) and error.context_mark is not None:
        # The end of the file is where it was noticed; where it began helps more.
        line, column = error.context_mark.line + 1, error.context_mark.column + 1
    message = f"{error.context}: {problem}" if error.context else problem
    return ConfigError("VG0001", Place(source.name, line, column), message, hint, source=source.line(line))


def _character(source: Source, error: yaml.reader.ReaderError) -> ConfigError:
    for index, character in enumerate(source.text):
        if not (character in "\t\n\r\x85" or " " <= character <= "~" or "\xa0" <= character <= "\ud7ff"
                or "\ue000" <= character <= "\ufffd" or character > "\uffff"):
            return source.error("VG0003", index, f"the control character U+{ord(character):04X} may not stand in a file")
    return ConfigError("VG0003", Place(source.name), str(error.reason))
