"""A network of this site, as far as sockets ask: where they are made, what they are bound to, who tells addresses there."""

from __future__ import annotations

from typing import Final, NamedTuple


class Network(NamedTuple):
    """Says where sockets are made.

    `name` is what operators call it (``namespace/name`` of a virtual_network, "" = the host as it is). `netns` is the Linux
    network namespace (the name that ``ip netns`` shows, or the path of its file; "" = the one that the process runs in).
    `device` is the network interface or VRF device that sockets are bound to, "" = any. `interface` is the one that has the
    addresses of the network: the same, but for a VRF. `sources` are the local addresses that connections come from, at most
    one of each version; without one the kernel chooses. `dns_servers` are asked for names; without any, the host's resolver
    is.

    Two networks may use the same prefixes: an address means something only together with its network.
    """

    name: str = ""
    netns: str = ""
    device: str = ""
    interface: str = ""
    sources: tuple[str, ...] = ()
    dns_servers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name or "host"

    @property
    def apart(self) -> bool:
        """Whether its sockets are made otherwise than the host's own."""
        return bool(self.netns or self.device or self.sources)

    def source(self, address: str) -> str:
        """The local address from which `address` is connected to, "" = the kernel's choice."""
        for own in self.sources:
            if (":" in own) is (":" in address):
                return own
        return ""


#: The host as it is: no namespace, no device, the system's resolver.
HOST: Final = Network()
