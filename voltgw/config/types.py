"""How single values are read: text, numbers, switches, enums.

A `Type` reads a node, says what it wants in words and as JSON Schema, and can write its value down again. The two type
parameters are the value when the field is present and the one when it is absent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Generic, Literal, TypeVar

from yaml.nodes import MappingNode, Node, ScalarNode

from voltgw.config.formats import Format
from voltgw.config.origin import PLAIN, QUOTED, describe
from voltgw.config.reader import MISSING, Missing, Reader, State
from voltgw.config.suggest import did_you_mean

V = TypeVar("V")
D = TypeVar("D")
E = TypeVar("E", bound=Enum)
#: JSON Schema is plain data; its shape is JSON's.
Schema = dict[str, Any]

_INTEGER: Final = re.compile(r"[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|[0-9]+)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_TRUE: Final = frozenset(("true", "True", "TRUE"))
_FALSE: Final = frozenset(("false", "False", "FALSE"))


class Type(Generic[V, D]):
    """How the value of a field is read. Subclasses say in `words` what they want ("a number")."""

    default: D
    suffix = ""                     # what the attribute's name has beyond the field's ("_s")
    words = "a value"

    def read(self, node: Node, reader: Reader) -> V | Missing:
        """The value of `node`, or `MISSING` after recording what is wrong."""
        raise NotImplementedError

    def merged(self, node: Node, reader: Reader, under: object) -> V | Missing:
        """Read with the defaults `under` the value; only messages and lists of them make use of those."""
        return self.read(node, reader)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Its JSON Schema; named parts go to `definitions`."""
        raise NotImplementedError

    def plain(self, value: V) -> object:
        """The value as it would stand in a file."""
        return value

    def limits(self) -> str:
        """Its published limits in words, "" if there are none."""
        return ""

    def absent(self, value: V) -> bool:
        """Whether `value`, although written, means the same as leaving the field out."""
        return value is False

    def scalar(self, node: Node, reader: Reader) -> str | Missing:
        """The text of `node`, which must be a scalar without a tag."""
        if not isinstance(node, ScalarNode):
            hint = "" if self.words.startswith("a list") else f"write {self.words} here"
            return reader.wrong(node, "VG0102", f"expected {self.words}, found {describe(node)}", hint)
        if node.tag not in (PLAIN, QUOTED):
            return tagged(node, reader)
        return reader.scalar(node)


def tagged(node: Node, reader: Reader) -> Missing:
    """Refuse a node with an explicit tag."""
    tag = str(node.tag).replace("tag:yaml.org,2002:", "!!")
    return reader.wrong(node, "VG0006", f"the tag {tag} is not read; no tag is",
                        "a field's schema decides what its value is, so remove the tag")


class Text(Type[str, None]):
    """Text of `least` to `most` characters, in a `Format`; what was written is what is meant (``NO`` is no Boolean)."""

    default = None
    words = "text"

    def __init__(self, form: Format | None = None, *, most: int | None = None, least: int = 0,
                 one_of: tuple[str, ...] = ()) -> None:
        self.form = form
        self.most = most
        self.least = least
        self.one_of = one_of
        if form is not None:
            self.words = form.words if form.words.startswith(("a ", "an ")) else f"text ({form.words})"

    def read(self, node: Node, reader: Reader) -> str | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        if len(text) < self.least:
            return reader.wrong(node, "VG0103", f"{len(text)} characters are fewer than the {self.least} that must be there"
                                if text else "this text may not be empty")
        if self.most is not None and len(text) > self.most:
            return reader.wrong(node, "VG0103", f"{len(text)} characters are more than the {self.most} that are allowed")
        if self.one_of and text not in self.one_of:
            return reader.wrong(node, "VG0104", f'"{text}" is none of {", ".join(v for v in self.one_of if v)}',
                                did_you_mean(text, self.one_of))
        if self.form is not None and text:
            try:
                return self.form.read(text)
            except ValueError as error:
                return reader.wrong(node, self.form.code, str(error))
        return text

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        if self.one_of:
            return {"enum": list(self.one_of)}
        result: Schema = {"type": ["string", "number", "boolean"]} if self.form is None else {"type": "string"}
        if self.least:
            result["minLength"] = self.least
        if self.most is not None:
            result["maxLength"] = self.most
        if self.form is not None and self.form.pattern:
            result["pattern"] = self.form.pattern
        if self.form is not None and self.form.schema_format:
            result["format"] = self.form.schema_format
        return result

    def limits(self) -> str:
        parts = [f"at least {self.least} characters"] if self.least > 1 else ["not empty"] if self.least else []
        if self.most is not None:
            parts.append(f"at most {self.most} characters")
        if self.one_of:
            parts.append("one of " + ", ".join(f"``{v}``" for v in self.one_of if v))
        return ", ".join(parts)


class FilePath(Type[str, None]):
    """The path of a file, relative to the file it stands in; the value is the joined path. ``-`` stays as it is."""

    default = None
    words = "a path"

    def __init__(self, most: int = 4096) -> None:
        self.most = most                            # of the joined path, in bytes

    def read(self, node: Node, reader: Reader) -> str | Missing:
        text = self.scalar(node, reader)
        if text is MISSING or text in ("", "-"):
            return text
        path = os.path.normpath(os.path.join(reader.base, text))
        if "\0" in path or len(os.fsencode(path)) > self.most:
            return reader.wrong(node, "VG0103", f"the path {path!r} is longer than the {self.most} bytes that are allowed")
        return path

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"type": "string"}

    def limits(self) -> str:
        return f"at most {self.most} bytes" if self.most < 4096 else ""


class Number(Type[int, None]):
    """A whole number from `least` to `most`; decimal, 0x or 0o, and (as the API takes it) quoted.

    `zero_is_absent` follows the model: its zero means "use the default" except where a field says otherwise.
    """

    default = None
    words = "a whole number"

    def __init__(self, least: int = 0, most: int | None = 0xFFFFFFFF, *, zero_is_absent: bool = False,
                 also: tuple[int, ...] = ()) -> None:
        self.least = least
        self.most = most
        self.zero_is_absent = zero_is_absent
        self.also = also                            # values outside the limits that are allowed as well

    def read(self, node: Node, reader: Reader) -> int | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        text = text.strip()
        if _INTEGER.fullmatch(text):
            sign = -1 if text[0] == "-" else 1
            digits = text.lstrip("+-")
            number = sign * int(digits, 16 if digits[:2] == "0x" else 8 if digits[:2] == "0o" else 10)
        elif _FLOAT.fullmatch(text) and float(text).is_integer():
            number = int(float(text))
        else:
            return reader.wrong(node, "VG0102", f"expected {self.words}, found {describe(node)}")
        if number in self.also:
            return number
        if number < self.least or self.most is not None and number > self.most:
            return reader.wrong(node, "VG0103", f"{number} is outside {self._range()}")
        return number

    def absent(self, value: int) -> bool:
        return self.zero_is_absent and value == 0

    def _range(self) -> str:
        also = "".join(f"{n} or " for n in self.also)
        return f"{also}{self.least} to {self.most}" if self.most is not None else f"{also}{self.least} and more"

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        result: Schema = {"type": "integer", "minimum": self.least}
        if self.most is not None:
            result["maximum"] = self.most
        if self.also:
            result = {"anyOf": [{"enum": list(self.also)}, result]}
        # Numeric strings are what gRPC gateways write, and what `${VAR}` looks like to an editor.
        return {"anyOf": [result, {"type": "string", "pattern": r"^([-+]?[0-9]+|\$\{.*\}|0x[0-9a-fA-F]+|0o[0-7]+)$"}]}

    def limits(self) -> str:
        return "" if not self.least and self.most in (None, 0xFFFFFFFF) else self._range()


class Decimal(Type[float, None]):
    """A number that need not be whole (a percentage, a coordinate)."""

    default = None
    words = "a number"

    def __init__(self, least: float, most: float) -> None:
        self.least = least
        self.most = most

    def read(self, node: Node, reader: Reader) -> float | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        if not _FLOAT.fullmatch(text.strip()):
            return reader.wrong(node, "VG0102", f"expected {self.words}, found {describe(node)}")
        number = float(text)
        if not self.least <= number <= self.most:
            return reader.wrong(node, "VG0103", f"{text} is outside {self.limits()}")
        return number

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"type": "number", "minimum": self.least, "maximum": self.most}

    def limits(self) -> str:
        return f"{self.least:g} to {self.most:g}"


class Flag(Type[bool, Literal[False]]):
    """``true`` or ``false``; absent is false."""

    default: Literal[False] = False
    words = "true or false"

    def read(self, node: Node, reader: Reader) -> bool | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        hint = "in YAML 1.2 only true and false are Booleans" if text.lower() in ("yes", "no", "on", "off", "y", "n") else ""
        return reader.wrong(node, "VG0102", f"expected true or false, found {describe(node)}", hint)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"type": "boolean"}


class Presence(Type[bool, Literal[False]]):
    """The empty message ``{}``: being there is its meaning. ``true`` and ``false`` are taken too (Terraform's spelling)."""

    default: Literal[False] = False
    words = "{}"

    def read(self, node: Node, reader: Reader) -> bool | Missing:
        if isinstance(node, MappingNode):
            if node.value:
                key = node.value[0][0]
                return reader.wrong(key, "VG0101", f"unknown field {describe(key)}: nothing can be said inside this one",
                                    "write {}")
            return True
        if isinstance(node, ScalarNode):
            text = self.scalar(node, reader)
            if text is MISSING:
                return MISSING
            if text in _TRUE:
                return True
            if text in _FALSE:
                return False
        return reader.wrong(node, "VG0102", f"expected {{}}, found {describe(node)}")

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"anyOf": [{"type": "object", "maxProperties": 0}, {"type": "boolean"}]}

    def plain(self, value: bool) -> object:
        return {} if value else False


class Choice(Type[E, E]):
    """One spelling of an enum; absent is the first. `states` names the values that are not (fully) acted on."""

    def __init__(self, enum: type[E], states: Mapping[E, State] | None = None, *, numbers: bool = True,
                 instead: str = "") -> None:
        self.enum = enum
        self.states = dict(states or {})
        self.instead = instead                      # what happens with values that are not acted on
        self.numbers = numbers                      # whether the wire numbers are the positions in the enum
        self.default: E = next(iter(enum))
        self.words = "one of " + ", ".join(str(member.value) for member in enum)

    def read(self, node: Node, reader: Reader) -> E | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        if text == "":
            return self.default
        try:
            value = self.enum(text)
        except ValueError:
            members = list(self.enum)
            if self.numbers and text.isascii() and text.isdigit() and int(text) < len(members):
                value = members[int(text)]
            else:
                spellings = [str(member.value) for member in members]
                return reader.wrong(node, "VG0104", f'"{text}" is none of {", ".join(spellings)}',
                                    did_you_mean(text, spellings))
        state = self.states.get(value)
        if state is not None:
            reader.note(state, node, str(value.value), self.instead)
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        definitions.setdefault(self.enum.__name__, {
            "enum": [member.value for member in self.enum], "description": (self.enum.__doc__ or "").strip().split("\n")[0],
        })
        return {"$ref": f"#/$defs/{self.enum.__name__}"}

    def plain(self, value: E) -> object:
        return value.value

    def limits(self) -> str:
        return "one of " + ", ".join(f"``{member.value}``" for member in self.enum)
