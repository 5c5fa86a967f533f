"""Adds and removes header fields (objects.md 3.5, 22.11): everything is worked out when the configuration is built.

Edits act in this order: the route's additions, the route's removals, the virtual host's additions, its removals. So what
becomes of each name is known beforehand: whether the message's own values stay, and which values are added. One filter does
it for all names at once. Values may have variables (`voltgw.routing.filters.variables`); one that comes out empty is not sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from voltgw.routing.filters.variables import compile_value
from voltgw.routing.problems import at

if TYPE_CHECKING:
    from voltgw.config.objects.headers import HeaderManipulationOptionType
    from voltgw.routing.filters.variables import Render
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field

#: As a response filter it fits too: both kinds return None, and only request filters could return more.
Edit: TypeAlias = "Callable[[Exchange], None]"

#: What one level (a route, then its host) adds and removes, with the names of the two fields for messages.
Level: TypeAlias = "tuple[Sequence[HeaderManipulationOptionType], Sequence[str], str, str]"

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
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

    def __init__(self, levels: Sequence[Level], *, response: bool) -> None:
        """Raises ValueError for a name or value that may not be sent, with the way to it."""
        drop: set[bytes] = set()
        add: list[tuple[bytes, bytes | Render]] = []
        for additions, removals, additions_field, removals_field in levels:
            for number, option in enumerate(additions):
                with at(additions_field, number):
                    field = _field(option, response)
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


def request_edits(*levels: Level, keep: frozenset[bytes] = frozenset()) -> tuple[Edit, ...]:
    """The filter for requests as a tuple of one, or of none when there is nothing to do. Raises ValueError.

    Of the fields named in `keep`, what the client sent is set aside into `RequestHead.connection` where the edits drop it:
    filters of responses ask for it.
    """
    plan = Plan(levels, response=False)
    drop = plan.drop
    keep &= drop
    if not drop and not plan.add:
        return ()
    fixed = _fixed(plan.add)
    if fixed is None or keep:
        added = _adder(plan.add)

        def edit(exchange: Exchange) -> None:
            head = exchange.request
            fields = head.fields
            new = added(exchange)           # first: variables may speak of what is dropped
            if keep:
                head.connection += [field for field in fields if field[0] in keep]
            if drop:
                fields[:] = [field for field in fields if field[0] not in drop]
            fields += new
    elif drop:
        def edit(exchange: Exchange) -> None:
            fields = exchange.request.fields
            fields[:] = [field for field in fields if field[0] not in drop]
            fields += fixed
    else:
        def edit(exchange: Exchange) -> None:
            exchange.request.fields += fixed
    return (edit,)


def response_edits(*levels: Level) -> tuple[Edit, ...]:
    """The same for responses.

    Server and Date are set aside in a response head: an edit of Server changes what the virtual host's choice of Server
    sees as the origin's, and a Date that was removed is written anew, as a gateway must (RFC 9110 6.6.1).
    """
    plan = Plan(levels, response=True)
    drop = plan.drop
    add = tuple(field for field in plan.add if field[0] != b"server")
    servers = [field for field in plan.add if field[0] == b"server"]
    server = _adder(servers[-1:])
    edits_server = b"server" in drop or bool(servers)
    edits_date = b"date" in drop or any(name == b"date" for name, _ in add)

    def set_aside(exchange: Exchange) -> None:
        response = exchange.response
        assert response is not None             # response filters run on responses
        if edits_server and (not servers or b"server" in drop or response.server is None):
            response.server = next((value for _, value in server(exchange)), None)
        if edits_date:
            response.dated = any(name == b"date" for name, _ in response.fields)

    fixed = _fixed(add)
    if fixed is None:
        added = _adder(add)

        def edit(exchange: Exchange) -> None:
            response = exchange.response
            assert response is not None         # response filters run on responses
            fields = response.fields
            fields[:] = [field for field in fields if field[0] not in drop]
            fields += added(exchange)
    elif drop - {b"server"}:
        def edit(exchange: Exchange) -> None:
            response = exchange.response
            assert response is not None         # response filters run on responses
            fields = response.fields
            fields[:] = [field for field in fields if field[0] not in drop]
            fields += fixed
    elif fixed:
        def edit(exchange: Exchange) -> None:
            response = exchange.response
            assert response is not None         # response filters run on responses
            response.fields += fixed
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


def _fixed(add: Sequence[tuple[bytes, bytes | Render]]) -> tuple[Field, ...] | None:
    """The fields as they are; None when the exchange has a say in one."""
    fixed = tuple((name, value) for name, value in add if isinstance(value, bytes))
    return fixed if len(fixed) == len(add) else None


def _adder(add: Sequence[tuple[bytes, bytes | Render]]) -> Callable[[Exchange], list[Field]]:
    """The fields that come, for one exchange."""
    if len(add) == 1:
        only, content = add[0]
        if not isinstance(content, bytes):
            render_only = content
            return lambda exchange: [(only, value)] if (value := render_only(exchange)) else []
    plain = [(name, value, None) if isinstance(value, bytes) else (name, b"", value) for name, value in add]

    def added(exchange: Exchange) -> list[Field]:
        fields = []
        for name, value, render in plain:
            if render is not None:
                value = render(exchange)
                if not value:
                    continue
            fields.append((name, value))
        return fields

    return added


def _field(option: HeaderManipulationOptionType, response: bool) -> tuple[bytes, bytes | Render]:
    with at("name"):
        name = _name(option.name)
    return name, compile_value(option.value, option.secret_value, response=response)


def _name(text: str) -> bytes:
    name = text.lower()
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"{text!r} is not a header name")
    if name in _NOT_EDITED:
        hint = "; use host_rewrite or auto_host_rewrite" if name == "host" else ""
        raise ValueError(f"{text} frames the message or belongs to one connection, so it cannot be edited{hint}")
    return name.encode("ascii")
