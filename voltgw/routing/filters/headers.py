"""Adds and removes header fields (objects.md 3.5, 22.11): everything is worked out when the configuration is built.

Edits act in this order: the route's additions, the route's removals, the virtual host's additions, its removals. So what
becomes of each name is known beforehand: whether the message's own values stay, and which values are added. One filter does
it for all names at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from voltgw.routing.problems import at

if TYPE_CHECKING:
    from voltgw.config.objects.headers import HeaderManipulationOptionType
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field

#: As a response filter it fits too: both kinds return None, and only request filters could return more.
Edit: TypeAlias = "Callable[[Exchange], None]"

#: What one level (a route, then its host) adds and removes, with the names of the two fields for messages.
Level: TypeAlias = "tuple[Sequence[HeaderManipulationOptionType], Sequence[str], str, str]"

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
#: The codec writes these from what it does (RFC 9112 6, RFC 9110 7.6.1): an edit could only make them lie.
_NOT_EDITED: Final = frozenset((
    "connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
))


class Plan:
    """The net effect of the edits on one kind of message.

    `drop` are the names whose own values go; `add` the fields that come, in order, behind the others.
    """

    __slots__ = ("add", "drop")

    def __init__(self, levels: Sequence[Level]) -> None:
        """Raises ValueError for a name or value that may not be sent, with the way to it."""
        drop: set[bytes] = set()
        add: list[Field] = []
        for additions, removals, additions_field, removals_field in levels:
            for number, option in enumerate(additions):
                with at(additions_field, number):
                    field = _field(option)
                if not option.append:
                    drop.add(field[0])
                    add = [other for other in add if other[0] != field[0]]
                add.append(field)
            for number, text in enumerate(removals):
                with at(removals_field, number):
                    name = _name(text)
                drop.add(name)
                add = [other for other in add if other[0] != name]
        self.drop: Final = frozenset(drop)
        self.add: Final = tuple(add)


def request_edits(*levels: Level) -> tuple[Edit, ...]:
    """The filter for requests as a tuple of one, or of none when there is nothing to do. Raises ValueError."""
    plan = Plan(levels)
    drop, add = plan.drop, plan.add
    if drop:
        def edit(exchange: Exchange) -> None:
            fields = exchange.request.fields
            fields[:] = [field for field in fields if field[0] not in drop]
            fields += add
    elif add:
        def edit(exchange: Exchange) -> None:
            exchange.request.fields += add
    else:
        return ()
    return (edit,)


def response_edits(*levels: Level) -> tuple[Edit, ...]:
    """The same for responses.

    Server and Date are set aside in a response head: an edit of Server changes what the virtual host's choice of Server
    sees as the origin's, and a Date that was removed is written anew, as a gateway must (RFC 9110 6.6.1).
    """
    plan = Plan(levels)
    drop = plan.drop
    add = tuple(field for field in plan.add if field[0] != b"server")
    servers = [value for name, value in plan.add if name == b"server"]
    server = servers[-1] if servers else None
    edits_server = b"server" in drop or bool(servers)
    edits_date = b"date" in drop or any(name == b"date" for name, _ in add)

    def set_aside(exchange: Exchange) -> None:
        response = exchange.response
        assert response is not None             # response filters run on responses
        if edits_server and (server is None or b"server" in drop or response.server is None):
            response.server = server
        if edits_date:
            response.dated = any(name == b"date" for name, _ in response.fields)

    if drop - {b"server"}:
        def edit(exchange: Exchange) -> None:
            response = exchange.response
            assert response is not None         # response filters run on responses
            fields = response.fields
            fields[:] = [field for field in fields if field[0] not in drop]
            fields += add
    elif add:
        def edit(exchange: Exchange) -> None:
            response = exchange.response
            assert response is not None         # response filters run on responses
            response.fields += add
    elif edits_server:
        return (set_aside,)
    else:
        return ()
    if not (edits_server or edits_date):
        return (edit,)

    def both(exchange: Exchange) -> None:
        edit(exchange)
        set_aside(exchange)

    return (both,)


def _field(option: HeaderManipulationOptionType) -> Field:
    with at("name"):
        name = _name(option.name)
    if option.secret_value is not None:
        with at("secret_value"):
            raise ValueError("values from a secret are not supported yet; without it the header would be empty")
    with at("value"):
        value = (option.value or "").encode("utf-8").strip(b" \t")
        if _CONTROL.search(value) is not None:
            raise ValueError("a header value may not hold line ends or other control characters")
    return name, value


def _name(text: str) -> bytes:
    name = text.lower()
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"{text!r} is not a header name")
    if name in _NOT_EDITED:
        hint = "; use host_rewrite or auto_host_rewrite" if name == "host" else ""
        raise ValueError(f"{text} frames the message or belongs to one connection, so it cannot be edited{hint}")
    return name.encode("ascii")
