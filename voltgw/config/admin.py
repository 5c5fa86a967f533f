"""Where the admin interface listens, and who may do what there."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from voltgw.config.compound import ListOf
from voltgw.config.contents import PemFile, SecretContent, SecretPemFile
from voltgw.config.formats import HOST
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, FilePath, Number, Text
from voltgw.config.values import Secret
from voltgw.values import defaults
from voltgw.values.address import is_loopback

#: Shortest token: what can be guessed is none.
LEAST_TOKEN_BYTES: Final = 16
_MAKE_ONE: Final = "make one: `openssl rand -hex 32`"


class Role(Enum):
    """What somebody may do at the admin interface."""

    READ = "read"
    OPERATE = "operate"


class Anonymous(Enum):
    """What somebody may do who shows nothing."""

    BY_ADDRESS = "by_address"
    READ = "read"
    NOTHING = "nothing"


@message
class AdminToken:
    """Who shows this token (``Authorization: Bearer``) may do what its role says."""

    name: str = field(Text(least=1, most=64), "Name that stands in the log.", required=True, example="deploy")
    token: Secret = field(SecretContent(4096), "The token, 16 bytes at least; white space around it does not count.",
                          required=True, example="file:/etc/voltgw/deploy.token")
    role: Role = field(Choice(Role, numbers=False), "``read`` asks, ``operate`` changes.")

    def rules(self) -> Iterable[Rule]:
        """One that cannot be guessed, and can be sent."""
        text = bytes(self.token.data).strip()
        if len(text) < LEAST_TOKEN_BYTES:
            yield Rule("token", "VG0106", f"a token has {LEAST_TOKEN_BYTES} bytes at least", _MAKE_ONE)
        elif not all(33 <= byte < 127 for byte in text):
            yield Rule("token", "VG0106", "a token has printable ASCII characters and no spaces", _MAKE_ONE)


@message
class AdminClient:
    """Who shows a certificate with this name may do what its role says."""

    name: str = field(Text(least=1, most=253), "A name of the certificate: a DNS name, URI or e-mail address among its "
                      "alternative names, or the common name of its subject.", required=True, example="deploy.example.com")
    role: Role = field(Choice(Role, numbers=False), "``read`` asks, ``operate`` changes.")


@message
class AdminUser:
    """Processes of this user may do what their role says over the Unix socket."""

    user: str = field(Text(least=1, most=64), "Name of a user of this host, or its number.", required=True, example="deploy")
    role: Role = field(Choice(Role, numbers=False), "``read`` asks, ``operate`` changes.")


@message
class AdminTls:
    """The admin interface speaks TLS."""

    cert: bytes = field(PemFile(131072), "PEM file, leaf first.", required=True, example="admin.crt")
    key: Secret = field(SecretPemFile(131072), "PEM file of its key.", required=True, example="admin.key")
    client_ca: bytes | None = field(
        PemFile(131072), "PEM file of the CA of `clients`.", absent="no certificate of a client is looked at", example="ca.crt")


@message
class AdminAddress:
    """Where the admin interface listens, and who may do what there."""

    address: str | None = field(
        Text(HOST), "Address; one that is not loopback needs `tls` and somebody who may ask.", group="where",
        absent=defaults.ADMIN_ADDRESS)
    port: int | None = field(Number(0, 65535), "Port; 0 lets the kernel choose.", absent=str(defaults.ADMIN_PORT))
    unix: str | None = field(FilePath(107), "Path of a Unix socket (mode 0600; with `users` 0666) instead.", group="where")
    names: tuple[str, ...] = field(
        ListOf(Text(HOST), unique=True), "Names by which it is asked besides its address and those of loopback.",
        example="[gw.example.com]")
    tokens: tuple[AdminToken, ...] = field(
        ListOf(Nested(AdminToken), most=64), "Tokens, and what they allow.", absent="nobody may change anything over TCP")
    tls: AdminTls | None = field(Nested(AdminTls), "It speaks TLS (1.2 or newer).", absent="plain HTTP")
    clients: tuple[AdminClient, ...] = field(
        ListOf(Nested(AdminClient), most=64), "Names in certificates of clients, and what they allow; needs `tls.client_ca`.")
    users: tuple[AdminUser, ...] = field(
        ListOf(Nested(AdminUser), most=64), "Users of this host besides the gateway's own and root, and what they may do; only "
        "with `unix`.")
    anonymous: Anonymous = field(
        Choice(Anonymous, numbers=False), "What may be done by who shows nothing: questions be asked (``read``), ``nothing``, "
        "or (``by_address``) questions at a loopback address and nothing at any other.")

    def rules(self) -> Iterable[Rule]:
        """Credentials that can be shown there, and nothing open that should not be."""
        if self.unix is not None:
            for name in ("port", "tls", "names"):
                if getattr(self, name) not in (None, ()):
                    yield Rule(name, "VG0106", f"a Unix socket has no {'port' if name == 'port' else f'`{name}`'}")
            if self.clients:
                yield Rule("clients", "VG0106", "nobody shows a certificate on a Unix socket", "say `users`")
            return
        if self.users:
            yield Rule("users", "VG0106", "only a Unix socket tells the user of a client", "say `unix: /run/voltgw/admin.sock`")
        if self.clients and (self.tls is None or self.tls.client_ca is None):
            yield Rule("clients", "VG0106", "certificates of clients need `tls: {cert: …, key: …, client_ca: …}`")
        if not is_loopback(self.address or defaults.ADMIN_ADDRESS):
            if self.tls is None:
                yield Rule("address", "VG0106", f"{self.address} is not a loopback address: others would read along",
                           "say `tls: {cert: …, key: …}`, or use 127.0.0.1, ::1 or `unix: PATH`; `gateway.monitor` shows "
                           "/metrics on any address")
            elif not self.tokens and not self.clients:
                yield Rule("address", "VG0106", f"{self.address} is not a loopback address, and nobody may ask there",
                           "say `tokens` or `clients`")
        for name, given in (("tokens", [each.name for each in self.tokens]), ("clients", [each.name for each in self.clients]),
                            ("users", [each.user for each in self.users])):
            twice = {each for each in given if given.count(each) > 1}
            if twice:
                yield Rule(name, "VG0106", f"{min(twice)!r} stands there twice")
