"""The virtual hosts that may be asked for on a TLS connection, seen from what has let its client in.

A client certificate that one CA vouches for opens the hosts of that CA, not those of another one on the same address. So each
group of hosts that ask for the same has its own view of the listener's table: its own hosts are found as ever, all others
answer 421 (RFC 9110 15.5.20), which tells the client to connect anew, naming the host in its hello.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from voltgw.routing.hosts import HostTable
from voltgw.routing.match import EVERYTHING
from voltgw.routing.route import Route, Rule, VirtualHost
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.routing.actions import Asked
    from voltgw.values.head import RequestHead

#: Access-log detail of a request for a host that this connection does not reach.
MISDIRECTED = "misdirected"


class AdmittedTable(HostTable):
    """A listener's `table` for connections that `mine` have let in; `default` takes names that nobody has.

    Only `exact` is copied, and only the part that is ours: all groups together hold each host once.
    """

    __slots__ = ("_default", "_mine", "_stand_ins", "_whole")

    def __init__(self, whole: HostTable, mine: Collection[VirtualHost], default: VirtualHost | None = None) -> None:
        super().__init__(())
        self._whole = whole
        self._mine = frozenset(mine)
        self._stand_ins: dict[VirtualHost, VirtualHost] = {}        # at most one for each host of others
        self._default = default if default in self._mine else None
        self.exact = {name: host for name, host in whole.exact.items() if host in self._mine}

    def choose(self, host: bytes, port: int | None, listener_port: int) -> VirtualHost | None:
        """As `HostTable.choose`; for a host of others, one of the same name that answers 421."""
        found = self._whole.choose(host, port, listener_port)
        if found is None:
            return self._default
        if found in self._mine:
            return found
        other = self._stand_ins.get(found)
        if other is None:
            other = self._stand_ins[found] = stand_in(found)
        return other


def stand_in(host: VirtualHost) -> VirtualHost:
    """Answers 421 in place of `host`, and is counted nowhere."""
    made = VirtualHost(host.name, host.namespace, host.domains, proxy=host.proxy, app_type=host.app_type)
    made.find_place = host.find_place
    made.server_line, made.header_case = host.server_line, host.header_case
    route = Route(made, MISDIRECTED)
    route.answer = _misdirected
    made.install((Rule(route, ((EVERYTHING, route),)),))
    return made


def _misdirected(head: RequestHead, asked: Asked) -> Reply:
    return Reply(421, flag="NR", detail=MISDIRECTED, negotiate=True)
