"""What an endpoint object asks registries of services for, as values: two that are equal ask for the same."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How the API of a registry is reached, by a discovery object. Nothing of what proves who we are is ever shown.

    `url` has scheme, host and port. `ca` is PEM, b"" = the system's authorities; `certificate` and `key` are PEM of a client
    certificate, b"" = none. `allowed` are prefixes of addresses that it may name; none = all but loopback, link-local and
    multicast ones.
    """

    name: str                               # of the discovery object, ``namespace/name``
    kind: str                               # of the discovery method's client, such as ``consul``
    url: str
    ca: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    server_name: str = ""                   # that its certificate has to have; "" = the URL's host
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    datacenter: str = ""
    namespace: str = ""
    partition: str = ""
    token_file: str = ""                    # is read before each request, "" = `token` is all
    reach: str = "pods"                     # of Kubernetes: by ``pods``, the ``cluster``'s addresses, or its ``nodes``
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceQuery:
    """A service by its name, or services by an expression over their labels, in one or several registries."""

    registries: tuple[RegistryAccess, ...]
    name: str = ""
    namespace: str = ""
    selector: tuple[str, ...] = ()
    port: int = 0                           # of the service, where that chooses among its ports; 0 = the only one
    #: By names of registries: patterns, one of which a namespace has to match; what is not named has no such limit.
    namespaces: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def text(self) -> str:
        """What is asked for, in words."""
        name = f"{self.name}.{self.namespace}" if self.name and self.namespace else self.name
        return name or " or ".join(f"`{each}`" for each in self.selector) or "every service"
