"""How bytes are read: hexadecimal digits, and what stands behind a URL."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from yaml.nodes import Node

from voltgw.config.origin import describe
from voltgw.config.reader import MISSING, Missing, Reader
from voltgw.config.types import Schema, Text, Type
from voltgw.config.values import Secret


class Hex(Type[bytes, None]):
    """Bytes as hexadecimal digits."""

    default = None
    words = "hexadecimal bytes such as 50494e47"

    def __init__(self, most: int) -> None:
        self.most = most

    def read(self, node: Node, reader: Reader) -> bytes | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        if len(text) > self.most:
            return reader.wrong(node, "VG0103", f"{len(text)} characters are more than the {self.most} that are allowed")
        try:
            return bytes.fromhex(text)
        except ValueError:
            return reader.wrong(node, "VG0110", f"expected {self.words}, found {describe(node)}")

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"type": ["string", "integer"], "maxLength": self.most, "pattern": r"^[0-9a-fA-F\s]*$|\$\{"}

    def plain(self, value: bytes) -> object:
        return value.hex()

    def limits(self) -> str:
        return f"at most {self.most} characters"


class Content(Type[bytes, None]):
    """Bytes behind a URL: ``string:///`` and base64, ``file:path`` or ``env:NAME``; with `pem` also PEM text itself.

    The bytes are the value, so that a changed file is a changed configuration. Nothing is fetched from a network.
    """

    default = None
    words = "string:///<base64>, file:<path> or env:<NAME>"
    shown = True                            # what stands there may be told

    def __init__(self, most: int, *, pem: bool = False) -> None:
        self.most = most
        self.pem = pem

    def read(self, node: Node, reader: Reader) -> bytes | Missing:
        text = self.scalar(node, reader)
        return MISSING if text is MISSING else self.load(node, reader, text)

    def load(self, node: Node, reader: Reader, text: str) -> bytes | Missing:
        """The bytes behind the URL `text`, which stood in `node`."""
        if text.startswith("string:///"):
            if len(text) > self.most:
                return reader.wrong(node, "VG0103", f"{len(text)} characters are more than {self.most}")
            try:
                return base64.b64decode("".join(text[10:].split()), validate=True)
            except (binascii.Error, ValueError):
                return reader.wrong(node, "VG0110", "what follows string:/// is not base64")
        if text.startswith("file:"):
            return reader.fetch(node, text[5:].removeprefix("//"))
        if text.startswith("env:"):
            value = reader.variable(node, text[4:])
            return MISSING if value is MISSING else value.encode()
        if self.pem and text.lstrip().startswith("-----BEGIN "):
            return text.encode()
        found = describe(node) if self.shown else "something else"
        return reader.wrong(node, "VG0110", f"expected {self.words}, found {found}",
                            "file: may be missing in front of a path" if "/" in text and ":" not in text else "")

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        pem = "|-----BEGIN " if self.pem else ""
        return {"type": "string", "pattern": rf"^(string:///|file:|env:{pem})|\$\{{"}

    def plain(self, value: bytes) -> object:
        return "string:///" + base64.b64encode(value).decode()

    def limits(self) -> str:
        return f"at most {self.most} characters"


class PemFile(Content):
    """Like `Content`, for the short form: what looks like no URL is the path of a file."""

    words = "the path of a PEM file"

    def __init__(self, most: int) -> None:
        super().__init__(most, pem=True)

    def load(self, node: Node, reader: Reader, text: str) -> bytes | Missing:
        if text.startswith(("string:///", "file:", "env:")) or text.lstrip().startswith("-----BEGIN "):
            return super().load(node, reader, text)
        return reader.fetch(node, text)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"type": "string"}


@contextmanager
def _unseen(reader: Reader) -> Iterator[None]:
    """Problems that are found while this lasts are shown without the line in which they are: it has what must not be shown."""
    before = len(reader.problems)
    yield
    reader.problems[before:] = [replace(problem, source=" ") for problem in reader.problems[before:]]


class SecretContent(Type[Secret, None]):
    """Like `Content`, for what must never be shown."""

    default = None
    words = Content.words

    def __init__(self, most: int) -> None:
        self.content = Content(most, pem=True)

    def read(self, node: Node, reader: Reader) -> Secret | Missing:
        self.content.shown = False
        with _unseen(reader):
            data = self.content.read(node, reader)
        return MISSING if data is MISSING else Secret(data)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return self.content.schema(definitions)

    def plain(self, value: Secret) -> object:
        return "***"

    def limits(self) -> str:
        return self.content.limits()


class SecretPemFile(SecretContent):
    """Like `PemFile`, for what must never be shown."""

    words = PemFile.words

    def __init__(self, most: int) -> None:
        self.content = PemFile(most)


class SecretText(Type[Secret, None]):
    """Text that stands in the file and must never be shown."""

    default = None
    words = "text"

    def __init__(self) -> None:
        self.text = Text()

    def read(self, node: Node, reader: Reader) -> Secret | Missing:
        with _unseen(reader):
            text = self.text.read(node, reader)
        return MISSING if text is MISSING else Secret(text.encode("utf-8"))

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return self.text.schema(definitions)

    def plain(self, value: Secret) -> object:
        return "***"

    def limits(self) -> str:
        return self.text.limits()
