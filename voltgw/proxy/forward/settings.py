"""What one forward proxy may do, as its connections read it; built once per configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from voltgw.security.addresses import Prefixes, number_of
from voltgw.security.destinations import Guard
from voltgw.security.egress import Flow, Policies, Speaks, Verdict
from voltgw.values.defaults import CONNECT_TIMEOUT_S
from voltgw.values.network import HOST, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container

    from voltgw.config.values import Range
    from voltgw.proxy.forward.interception import Interception
    from voltgw.security.htpasswd import Htpasswd

#: Ports to which CONNECT may lead where nobody says otherwise.
CONNECT_PORT: Final = 443
#: Most addresses of one name that are tried.
MAX_ADDRESSES: Final = 16


@dataclass(frozen=True, slots=True)
class Egress:
    """The rules of one connector or of one dynamic reverse proxy; `name` is ``namespace/name`` of that.

    `rounds` is how often all addresses of a name are tried. `network` is where names are looked up and connections go out.
    `explicit` means that clients know of the proxy (and may be asked to log in), else they were captured.
    """

    name: str
    policies: Policies
    guard: Guard
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    rounds: int = 1
    connect_ports: tuple[Range, ...] = ()       # () = 443 and `white_ports`
    white_ports: frozenset[int] = frozenset()
    white_prefixes: Prefixes = field(default_factory=lambda: Prefixes(()))
    network: Network = HOST
    explicit: bool = True
    users: Htpasswd | None = None               # None = nobody need log in
    realm: str = "proxy"
    interception: Interception | None = None    # None = TLS is never opened
    users_mark: bytes = b""                     # of the file that they stand in

    @property
    def hears_requests(self) -> bool:
        """Whether requests in plain text are judged one by one: a policy speaks of URLs, or there was no CONNECT."""
        return not self.explicit or self.policies.about_requests

    def tunnels_to(self, port: int) -> bool:
        """Whether CONNECT may lead to that port."""
        if self.connect_ports:
            return any(port in one for one in self.connect_ports)
        return port == CONNECT_PORT or port in self.white_ports

    def unparsed(self, address: str, port: int) -> bool:
        """Whether nobody looks into what goes there."""
        return port in self.white_ports or self.white_prefixes.holds(number_of(address))

    def select(
        self, flow: Flow, addresses: Collection[str], local: Container[str] = (),
        also: Callable[[str, int], str] = lambda address, port: "", settled: Verdict | None = None,
    ) -> tuple[tuple[str, ...], Verdict, str]:
        """Those of `addresses` to which `flow` may go (in their order), the verdict, and why the guard refuses the rest.

        The verdict is that on the first address that the guard lets through; where there is none, the reason tells. `also` says
        what else is wrong with an address and port, "" = nothing; `settled` is the verdict if all addresses have the same.
        """
        usable: list[str] = []
        refused: Verdict | None = None
        verdict: Verdict | None = None
        why = ""
        for address in addresses:
            reason = self.guard.refusal(address, flow.port, local) or also(address, flow.port)
            if reason:
                why = why or reason
                continue
            flow.to(address)
            found = settled or self.policies.judge(flow)
            if found.action == "DENY":
                refused = refused or found
                continue
            usable.append(address)
            verdict = verdict or found
            if len(usable) == MAX_ADDRESSES:
                break
        if verdict is None and refused is None:
            return (), self.policies.judge(flow.to("")), why or "the name has no address"
        chosen = verdict or refused
        assert chosen is not None
        return tuple(usable), chosen, ""


def assumed(port: int) -> Speaks:
    """What is taken to be spoken on a port until it is heard."""
    return Speaks.TLS if port == CONNECT_PORT else Speaks.UNKNOWN
