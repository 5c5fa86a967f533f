"""Files that are one message and no configuration: the cases of ``voltgw test``, the scenarios of ``voltgw simulate``.

They are read as configurations are: every mistake has its place and, where one is near, the name that was probably meant.
"""

from __future__ import annotations

from typing import TypeVar

from voltgw.config.origin import Source, Unreadable, contents, documents, is_null
from voltgw.config.places import unpack
from voltgw.config.reader import MISSING, Reader
from voltgw.config.schema import Message, Nested
from voltgw.config.show import arranged
from voltgw.errors import ConfigError, ConfigErrors, Place

M = TypeVar("M")


def read_one(path: str, kind: type[M], what: str) -> M:
    """The message of `kind` that a file is; `what` says in words what is expected in it. Raises `ConfigErrors`."""
    try:
        source = Source.decode(path, contents(path))
    except OSError as error:
        raise ConfigErrors((ConfigError("VG0002", Place(path), f"cannot be read: {error.strerror or error}"),)) from None
    except Unreadable as error:
        raise ConfigErrors((error.problem,)) from None
    reader = Reader(source, {}, ".", substitute=False)
    found: list[M] = []
    try:
        for root in documents(source):
            read = reader.wrong(root, "VG0102", "the file is empty") if is_null(root) else Nested(kind).read(root, reader)
            if read is not MISSING:
                found.append(read)
    except Unreadable as error:
        reader.problems.append(error.problem)
    if len(found) != 1 and not reader.problems:
        reader.problems.append(ConfigError("VG0102", Place(path, 1), f"one document with {what} is expected"))
    if reader.problems:
        raise ConfigErrors(arranged(reader.problems, [path], lambda place: source.line(place.line)))
    return found[0]


def place_of(path: str, read: object) -> Place:
    """Where a message stands in the file that it was read from."""
    assert isinstance(read, Message)
    return Place(path, *unpack(read.at))
