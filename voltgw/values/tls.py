"""What is asked of TLS on either side, as values, and what a finished handshake says.

A context is built from one of these values and cached by it: two hosts that ask for the same share one. So everything that
makes two contexts differ, file contents included, is a part of the value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Version(Enum):
    """Protocol versions, by their number on the wire (RFC 8446 4.2.1)."""

    TLS_1_0 = 0x0301
    TLS_1_1 = 0x0302
    TLS_1_2 = 0x0303
    TLS_1_3 = 0x0304


class ClientAuth(Enum):
    """What a listener wants of a client's certificate."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class SniSource(Enum):
    """Which name a connection to an endpoint asks for."""

    HOST = "host"                           # the Host that the endpoint is sent
    ENDPOINT = "endpoint"                   # the DNS name or address by which the endpoint is configured
    FIXED = "fixed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain, leaf first, and its key, both PEM; `ocsp` is a DER response to staple (RFC 6066 8)."""

    chain: bytes
    key: bytes = field(repr=False)
    ocsp: bytes | None = None


@dataclass(frozen=True, slots=True)
class PeerRules:
    """How a peer's certificate is judged.

    `ca` is PEM, None = the system's roots. `names` are accepted subject alternative names (or common names, for a client);
    empty = the name connected to (upstream), anybody whom the CA vouches for (downstream). `spki_pins` and `hash_pins` are
    SHA-256 digests of the leaf's public key and of the leaf; with any, one of them must match. `crls` are PEM.
    """

    ca: bytes | None = None
    crls: tuple[bytes, ...] = ()
    names: tuple[str, ...] = ()
    skip_name: bool = False
    depth: int | None = None
    spki_pins: tuple[bytes, ...] = ()
    hash_pins: tuple[bytes, ...] = ()


class Tells(NamedTuple):
    """What endpoints are told of a client's certificate.

    `xfcc` has elements of X-Forwarded-Client-Cert by their names in the object model; `client_cert` is "LEAF" or "CHAIN"
    where Client-Cert (RFC 9440) is sent, without or with the rest of the chain.
    """

    xfcc: tuple[str, ...] = ()
    client_cert: str = ""

    def __bool__(self) -> bool:
        """Whether they are told anything."""
        return bool(self.xfcc or self.client_cert)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a virtual host offers its clients. `suites` are IANA names in order of preference, () = the default list.

    `scope` goes into the session id context: a session is resumed only where everything that let it in is the same
    (nginx's CVE-2025-23419 is what happens otherwise).
    """

    certificates: tuple[KeyPair, ...]
    minimum: Version = Version.TLS_1_2
    maximum: Version = Version.TLS_1_3
    suites: tuple[str, ...] = ()
    alpn: tuple[bytes, ...] = (b"http/1.1",)
    client_auth: ClientAuth = ClientAuth.NONE
    peer: PeerRules = PeerRules()
    scope: bytes = b""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What connections to the endpoints of a cluster ask for. `verify` False accepts any certificate.

    `sessions` is how many sessions are kept for resumption, per endpoint and name.
    """

    minimum: Version = Version.TLS_1_2
    maximum: Version = Version.TLS_1_3
    suites: tuple[str, ...] = ()
    alpn: tuple[bytes, ...] = ()
    certificate: KeyPair | None = None
    peer: PeerRules = PeerRules()
    verify: bool = True
    sni: SniSource = SniSource.HOST
    server_name: str = ""                   # for `SniSource.FIXED`
    sessions: int = 1


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a finished handshake says.

    `sni` is lower-case, "" when the client named nobody; `alpn` is b"" when nothing was agreed. `peer` is the other side's
    certificate chain as DER, leaf first, () when it gave none; it was verified unless the rules say not to. `ja3` and
    `ja4` are fingerprints of a client's hello, "" upstream.
    """

    version: str                            # "TLSv1.3"
    cipher: str                             # IANA's name
    alpn: bytes = b""
    sni: str = ""
    peer: tuple[bytes, ...] = ()
    resumed: bool = False
    ja3: str = ""
    ja4: str = ""
