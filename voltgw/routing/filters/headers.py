"""Adds and removes header fields (objects.md 3.5, 22.11): everything is worked out when the configuration is built.

Edits act in this order: the route's additions, the route's removals, the virtual host's additions, its removals. So what
becomes of each name is known beforehand: whether the message's own values stay, and which values are added. One filter does
it for all names at once. Values may have variables (`voltgw.routing.filters.variables`); one that comes out empty is not sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

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
    edits = _RequestEdits(plan, keep & plan.drop)
    if edits.varies or edits.keep:
        return (edits.render,)
    if plan.drop:
        return (edits.replace,)
    return (edits.add,) if plan.add else ()


def response_edits(*levels: Level) -> tuple[Edit, ...]:
    """The same for responses.

    Server and Date are set aside in a response head: an edit of Server changes what the virtual host's choice of Server
    sees as the origin's, and a Date that was removed is written anew, as a gateway must (RFC 9110 6.6.1).
    """
    plan = Plan(levels, response=True)
    edits = _ResponseEdits(plan)
    if edits.sets_aside:
        return (edits.all,)
    if edits.varies:
        return (edits.render,)
    if plan.drop:
        return (edits.replace,)
    return (edits.add,) if plan.add else ()


class _Added:
    """The fields that come. `fixed` are those that do not change; `varies` when the exchange has a say in one."""

    __slots__ = ("_name", "_parts", "_render", "fixed", "varies")

    def __init__(self, add: Sequence[tuple[bytes, bytes | Render]]) -> None:
        self.fixed = tuple([(name, value) for name, value in add if isinstance(value, bytes)])
        self.varies = len(self.fixed) < len(add)
        self._name = b""                    # the one that comes, if it is only one and varies
        self._render: Render | None = None
        if len(add) == 1 and self.varies:
            name, render = add[0]
            assert not isinstance(render, bytes)
            self._name, self._render = name, render
        self._parts = [(name, value, None) if isinstance(value, bytes) else (name, b"", value) for name, value in add]

    def of(self, exchange: Exchange) -> list[Field]:
        """They, for one exchange."""
        only = self._render
        if only is not None:
            value = only(exchange)
            return [(self._name, value)] if value else []
        fields: list[Field] = []
        for name, value, render in self._parts:
            if render is not None:
                value = render(exchange)
                if not value:
                    continue
            fields.append((name, value))
        return fields


class _RequestEdits:
    """What becomes of the fields of requests: one of `add`, `replace` and `render` is the filter, the first that is enough."""

    __slots__ = ("_added", "_drop", "_fixed", "keep", "varies")

    name: ClassVar[str] = "request edits"

    def __init__(self, plan: Plan, keep: frozenset[bytes]) -> None:
        added = _Added(plan.add)
        self._fixed = added.fixed
        self._drop = plan.drop
        self._added = added
        self.varies = added.varies
        self.keep = keep

    def add(self, exchange: Exchange) -> None:
        """Nothing goes, and what comes is known."""
        exchange.request.fields += self._fixed

    def replace(self, exchange: Exchange) -> None:
        """What comes is known."""
        fields = exchange.request.fields
        drop = self._drop
        fields[:] = [field for field in fields if field[0] not in drop]
        fields += self._fixed

    def render(self, exchange: Exchange) -> None:
        """The exchange has a say in what comes, or something is set aside."""
        head = exchange.request
        fields = head.fields
        drop, keep = self._drop, self.keep
        new = self._added.of(exchange)      # first: variables may speak of what is dropped
        if keep:
            head.connection += [field for field in fields if field[0] in keep]
        if drop:
            fields[:] = [field for field in fields if field[0] not in drop]
        fields += new


class _ResponseEdits:
    """The same for responses, with `all` where there is something to do beside the fields."""

    __slots__ = (
        "_added", "_date", "_drop", "_edits", "_fixed", "_replaces_server", "_server", "_servers", "sets_aside", "varies",
    )

    name: ClassVar[str] = "response edits"

    def __init__(self, plan: Plan) -> None:
        add = [field for field in plan.add if field[0] != b"server"]
        servers = [field for field in plan.add if field[0] == b"server"]
        added = _Added(add)
        self._fixed = added.fixed
        self._drop = plan.drop
        self._added = added
        self.varies = added.varies
        self._edits = bool(add) or bool(plan.drop - {b"server"})
        self._server = b"server" in plan.drop or bool(servers)
        self._replaces_server = not servers or b"server" in plan.drop
        self._servers = _Added(servers[len(servers) - 1:] if servers else [])
        self._date = b"date" in plan.drop or any(name == b"date" for name, _ in add)
        self.sets_aside = self._server or self._date

    def add(self, exchange: Exchange) -> None:
        """Nothing goes, and what comes is known."""
        response = exchange.response
        assert response is not None             # response filters run on responses
        response.fields += self._fixed

    def replace(self, exchange: Exchange) -> None:
        """What comes is known."""
        response = exchange.response
        assert response is not None             # response filters run on responses
        fields = response.fields
        drop = self._drop
        fields[:] = [field for field in fields if field[0] not in drop]
        fields += self._fixed

    def render(self, exchange: Exchange) -> None:
        """The exchange has a say in what comes."""
        response = exchange.response
        assert response is not None             # response filters run on responses
        fields = response.fields
        drop = self._drop
        fields[:] = [field for field in fields if field[0] not in drop]
        fields += self._added.of(exchange)

    def all(self, exchange: Exchange) -> None:
        """Server or Date are among what is edited."""
        if self._edits:
            self.render(exchange)
        response = exchange.response
        assert response is not None             # response filters run on responses
        if self._server and (self._replaces_server or response.server is None):
            servers = self._servers.of(exchange)
            response.server = servers[0][1] if servers else None
        if self._date:
            response.dated = any(name == b"date" for name, _ in response.fields)


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
