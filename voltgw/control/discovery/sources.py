"""What discovery methods are given to ask with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voltgw.control.discovery.registries import Registries
    from voltgw.control.seams import ControlLoop
    from voltgw.values.network import Network


@dataclass(frozen=True, slots=True)
class Sources:
    """The ways out of the process that a feed may use.

    `resolver` is the host's `IHostnameResolver`; `of_network` makes one for a network that has DNS servers of its own.
    `registries` asks registries of services.
    """

    loop: ControlLoop
    random: Random
    resolver: Any
    of_network: Callable[[Network], Any] | None = None
    registries: Registries | None = None

    def resolver_of(self, network: Network) -> Any:
        """What names are looked up with in `network`: by its own servers, else by the host's resolver."""
        return self.of_network(network) if network.dns_servers and self.of_network is not None else self.resolver
