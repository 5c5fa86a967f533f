"""Which records are written to an access log: by status, duration and host, and of the rest a sample. Errors are always in the
sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from voltgw.observe.lines import ended
from voltgw.observe.sampling import sampled

if TYPE_CHECKING:
    from voltgw.values.exchange import Exchange
    from voltgw.values.record import ConnectionRecord

#: The class of relayed connections in a sample, beside ``2xx`` and the like.
CONNECTIONS: Final = "tcp"


class Chosen:
    """Says of each record what share of its like is written: 0.0 = it is not, 1.0 = all are.

    `statuses` are ``5xx`` or ``404``; connections have none, and are left out where any is asked for. `hosts` are
    ``namespace/name``. None = no condition; all that are there must hold. `shares` is by class of status (or `CONNECTIONS`); a
    class that it does not name is written whole, and so is every error: 500 and above, no answer at all, a response flag. With
    `requests_only` no connection is written.
    """

    __slots__ = ("_connections", "_hosts", "_least_s", "_requests_only", "_shares", "_statuses")

    def __init__(self, statuses: tuple[str, ...] = (), least_s: float = 0.0, hosts: frozenset[str] = frozenset(),
                 shares: Mapping[str, float] | None = None, requests_only: bool = False) -> None:
        self._statuses = {status for each in statuses for status in _statuses(each)}
        self._least_s = least_s
        self._requests_only = requests_only
        self._hosts = hosts
        by_class = dict(shares or {})
        self._connections = by_class.pop(CONNECTIONS, 1.0)
        self._shares = [1.0] * 6
        for name, share in by_class.items():
            self._shares[int(name[0])] = share

    def exchange(self, exchange: Exchange) -> float:
        """Of an exchange."""
        status = exchange.response_code
        if self._statuses and status not in self._statuses:
            return 0.0
        if self._least_s and ended(exchange) - exchange.t_start < self._least_s:
            return 0.0
        if self._hosts and not self._of_hosts(exchange):
            return 0.0
        if status >= 500 or not status or exchange.flag:
            return 1.0
        share = self._shares[status // 100]
        return share if share == 1.0 or sampled(exchange.request_id, share) else 0.0

    def connection(self, record: ConnectionRecord) -> float:
        """Of a connection."""
        if self._statuses or self._requests_only:
            return 0.0
        if self._least_s and record.t_end - record.t_start < self._least_s:
            return 0.0
        if self._hosts and not self._of_hosts(record):
            return 0.0
        if record.flag or self._connections == 1.0:
            return 1.0
        client = record.client
        mark = f"{client.peer_address} {client.peer_port} {record.t_start}".encode()
        return self._connections if sampled(mark, self._connections) else 0.0

    def _of_hosts(self, record: Exchange | ConnectionRecord) -> bool:
        route = record.route
        return route is not None and f"{route.host.namespace}/{route.host.name}" in self._hosts


def _statuses(said: str) -> range:
    first = int(said[0]) * 100
    return range(first, first + 100) if said.endswith("xx") else range(int(said), int(said) + 1)
