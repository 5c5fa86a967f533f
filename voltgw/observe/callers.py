"""Who asks the admin interface, and what that person may do: by token, by certificate, or by the user of a process.

Tokens are compared by their SHA-256 in constant time. An address (of IPv6, a network of 64 bits: that many are anybody's; of
the Unix socket, a user) that has shown wrong ones too often is not listened to for a while, so that nobody can try many.
"""

from __future__ import annotations

import binascii
import hmac
import os
import pwd
import socket
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.logger import Logger

from voltgw.net.passing import peer_of

#: What somebody may do; each includes those before it.
NOTHING: Final = 0
READ: Final = 1
OPERATE: Final = 2
ROLES: Final = ("nothing", "read", "operate")

#: So many wrong tokens of one address within `WINDOW_S` seconds, and it is not listened to for the rest of them.
MOST_WRONG: Final = 10
WINDOW_S: Final = 60.0
#: Addresses that are remembered; the one that was wrong longest ago makes room.
MOST_ADDRESSES: Final = 1024


class Caller(NamedTuple):
    """Somebody who asks: `name` for the log, and what they may do."""

    name: str
    role: int


class Callers:
    """The people of one admin interface.

    `tokens` are (name, token, role), `clients` (name in a certificate, role), `users` (user id, role). `anonymous` is what may
    be done by who shows nothing. `now` is in monotonic seconds.
    """

    _log = Logger()

    def __init__(
        self, now: Callable[[], float], tokens: Iterable[tuple[str, bytes, int]] = (), clients: Iterable[tuple[str, int]] = (),
        users: Iterable[tuple[int, int]] = (), anonymous: int = READ,
    ) -> None:
        self.refused = {"credentials": 0, "role": 0, "too_many": 0}
        self.anonymous = anonymous
        self._now = now
        self._tokens = [(name, sha256(token).digest(), role) for name, token, role in tokens]
        self._clients = dict(clients)
        others = dict(users)
        self.has_users = bool(others)
        self.has_credentials = bool(self._tokens or self._clients)
        self._users = {**others, 0: OPERATE}
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()     # by address: since when, and how many

    def of_token(self, value: bytes, source: str) -> Caller | None:
        """Who shows a token in this value of Authorization (Bearer, or Basic with the token as password).

        None = a wrong one, or an address that is not listened to.
        """
        scheme, _, token = value.strip().partition(b" ")
        scheme = scheme.lower()
        if scheme == b"basic":              # how a browser asks its user: the token is the password, the name does not matter
            token = _password(token)
        if self.is_shut_out(source):
            self.refused["too_many"] += 1
            return None
        digest = sha256(token.strip()).digest()
        found = None
        for name, known, role in self._tokens:      # all of them: how long it takes tells nothing
            if hmac.compare_digest(digest, known):
                found = Caller(f"token {name}", role)
        if found is None or scheme not in (b"bearer", b"basic"):
            self.refused["credentials"] += 1
            self._note(source)
            return None
        return found

    def of_certificate(self, certificate: x509.Certificate) -> Caller | None:
        """Who shows a certificate, which was verified; None = nobody whom we know."""
        for name in names_of(certificate):
            if name in self._clients:
                return Caller(f"certificate {name}", self._clients[name])
        return None

    def of_process(self, sock: socket.socket) -> Caller:
        """Who is at the other end of a Unix socket."""
        uid = user_of(sock)
        # Our own user is that of now: the process may have given up root since it was configured.
        return Caller(f"user {user_name(uid)}", OPERATE if uid == os.geteuid() else self._users.get(uid, NOTHING))

    def is_shut_out(self, source: str) -> bool:
        """Whether an address has been wrong so often that it is not listened to."""
        source = counted_as(source)
        since = self._wrong.get(source)
        if since is None:
            return False
        if self._now() - since[0] >= WINDOW_S:
            del self._wrong[source]
            return False
        return since[1] >= MOST_WRONG

    def _note(self, source: str) -> None:
        source = counted_as(source)
        known = self._wrong.setdefault(source, [self._now(), 0])
        known[1] += 1
        if known[1] == MOST_WRONG:
            self._log.warn("{source} has shown {count} wrong tokens: it is not listened to for a while", source=source,
                           count=MOST_WRONG, event="admin.shut_out")
        self._wrong.move_to_end(source)
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)


def counted_as(source: str) -> str:
    """As what an address is counted: one of IPv6 as its network of 64 bits."""
    if ":" not in source:
        return source
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return source
    if not isinstance(address, IPv6Address):
        return source
    return str(address.ipv4_mapped or f"{address.packed[:8].hex()}/64")


def user_of(sock: socket.socket) -> int:
    """The user at the other end of a Unix socket, as of when it was connected."""
    return peer_of(sock)[1]


def _password(encoded: bytes) -> bytes:
    """The password of Basic credentials (RFC 7617 2), b"" for what is none."""
    try:
        return b64decode(encoded.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def names_of(certificate: x509.Certificate) -> list[str]:
    """The names in a certificate: DNS names, URIs and e-mail addresses, then the common names of its subject."""
    found: list[str] = []
    try:
        others: Any = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        others = None
    if others is not None:
        for kind in (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name):
            found += others.get_values_for_type(kind)
    return found + [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def user_name(uid: int) -> str:
    """The name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def user_id(name: str) -> int:
    """The number of a user. Raises KeyError for a name that nobody has."""
    return int(name) if name.isascii() and name.isdigit() else pwd.getpwnam(name).pw_uid
