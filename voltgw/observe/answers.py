"""Answers of the admin interface, and how they are sent: in pieces, so that a long one does not hold up the traffic."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPullProducer
from twisted.logger import Logger
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Request

#: A turn's share of an answer ends after so much time or so many bytes, whichever comes first.
SLICE_S: Final = 0.002
SLICE_BYTES: Final = 64 * 1024
#: A client must have taken its whole answer after this.
SEND_TIMEOUT_S: Final = 60.0

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, type and body; `body` is consumed once. `fields` are further response fields."""

    status: int
    content_type: str
    body: Iterable[bytes]
    fields: tuple[tuple[bytes, bytes], ...] = field(default=())


def json_answer(value: object, status: int = 200) -> Answer:
    """A small value as JSON, for programs and for reading."""
    return Answer(status, JSON, (f"{json.dumps(value, indent=2, default=str)}\n".encode(),))


def json_list(name: str, items: Iterable[Any]) -> Answer:
    """``{name: [item, …]}``, one item after another, each on a line."""
    return Answer(200, JSON, _listed(name, items))


def json_parts(value: Mapping[str, Any]) -> Answer:
    """A large mapping as JSON; a value that is an iterator becomes a list, of which one item after another is asked for."""
    return Answer(200, JSON, (piece.encode() for piece in in_parts(value)))


def in_parts(value: Mapping[str, Any]) -> Iterator[str]:
    """The pieces of `json_parts`, as text."""
    separator = "{\n"
    for key, each in value.items():
        yield f"{separator}  {json.dumps(key)}: "
        separator = ",\n"
        if isinstance(each, Iterator):
            before = "[\n"
            for item in each:
                yield before + textwrap.indent(json.dumps(item, indent=2, default=str), "    ")
                before = ",\n"
            yield "[]" if before.startswith("[") else "\n  ]"
        else:
            yield textwrap.indent(json.dumps(each, indent=2, default=str), "  ").lstrip()
    yield "\n}\n" if value else "{}\n"


def _listed(name: str, items: Iterable[Any]) -> Iterator[bytes]:
    yield f'{{{json.dumps(name)}: ['.encode()
    separator = "\n"
    for item in items:
        yield f"{separator}{json.dumps(item, default=str)}".encode()
        separator = ",\n"
    yield b"\n]}\n"


@implementer(IPullProducer)
class Sending:
    """One answer on its way; ends the request when all of it is out, and its connection when that takes too long."""

    _log = Logger()

    def __init__(self, request: Request, pieces: Iterator[bytes], clock: IReactorTime,
                 monotonic: Callable[[], float]) -> None:
        self._request = request
        self._pieces = pieces
        self._monotonic = monotonic
        self._late = clock.callLater(SEND_TIMEOUT_S, self._abort)
        self._over = False
        request.notifyFinish().addBoth(self._ended)
        request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Send the next share."""
        if self._over:
            return
        until = self._monotonic() + SLICE_S
        share: list[bytes] = []
        size = 0
        try:
            for piece in self._pieces:
                share.append(piece)
                size += len(piece)
                if size >= SLICE_BYTES or self._monotonic() >= until:
                    self._request.write(b"".join(share))
                    return
        except Exception:                   # half an answer must not look like a whole one
            self._log.failure("an answer of the admin interface could not be finished")
            self._abort()
            return
        if share:
            self._request.write(b"".join(share))
        self._request.unregisterProducer()
        self._request.finish()

    def stopProducing(self) -> None:
        """The client is gone."""
        self._over = True

    def _ended(self, result: object) -> None:
        self._over = True
        if self._late.active():
            self._late.cancel()

    def _abort(self) -> None:
        self._over = True
        self._request.unregisterProducer()
        cut(self._request)


def cut(request: Request) -> None:
    """End the connection of a request at once, so that the client cannot take what it got for a whole answer."""
    transport: Any = request.transport      # Twisted types it as the least of transports
    transport.abortConnection()
