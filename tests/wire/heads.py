"""What the tests of the HTTP/1 codec share: making heads, and asking what becomes of them."""

from __future__ import annotations

import h11

from voltgw.errors import BadRequest, BadResponse
from voltgw.values.head import RequestHead, ResponseHead
from voltgw.wire import http1
from voltgw.wire.authority import known_authorities
from voltgw.wire.http1 import parse_request, parse_response

ENDS = b"\r\n\r\n"
#: The method does not matter to a response's fields, only to its framing.
GET = b"GET"


def request(data: bytes, normalised: bool = True) -> RequestHead:
    """The head of `data`, which holds a whole one."""
    return parse_request(data, data.index(ENDS), normalised)


def response(data: bytes, method: bytes = GET) -> ResponseHead:
    """The head of `data`, which holds a whole one."""
    return parse_response(data, data.index(ENDS), method)


def with_lines(*lines: bytes, start: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    """A request head with these field lines behind Host; `host` b"" leaves that out."""
    return b"\r\n".join([start, *([host] if host else []), *lines]) + ENDS


def answer(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response head with these field lines."""
    return b"\r\n".join([start, *lines]) + ENDS


def status_of(data: bytes) -> int:
    """What a client that sends this head is told: 0 = it is accepted, else the status of the refusal."""
    try:
        request(data)
    except BadRequest as error:
        return error.answer
    return 0


def refused(data: bytes, method: bytes = GET) -> bool:
    """Whether this response head is refused."""
    try:
        response(data, method)
    except BadResponse:
        return True
    return False


def forget_lines() -> None:
    """Empty the memo tables, so that a test begins with none of another's lines."""
    for memo in (http1._request_lines, http1._response_lines, http1._request_names, http1._response_names, http1._status_lines,
                 http1._beginnings, known_authorities):
        memo.clear()


def h11_request(data: bytes) -> h11.Request:
    """What h11, as the server, makes of a request head; raises `h11.RemoteProtocolError`."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request), event
    return event


def h11_events(data: bytes, role: type[h11.SERVER] | type[h11.CLIENT], method: bytes = GET) -> list[h11.Event]:
    """Every event that h11 reads from `data`; as a client it has asked with `method` before."""
    connection = h11.Connection(role, max_incomplete_event_size=1 << 20)
    if role is h11.CLIENT:
        connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    events: list[h11.Event] = []
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA or event is h11.PAUSED:
            return events
        assert isinstance(event, h11.Event)
        events.append(event)
        if isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return events
