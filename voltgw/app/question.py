"""What somebody asks `explain`: a request as a client would send it, or a connection, and the listener that it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

#: Who asks when nobody says who: an address that is kept for documentation (RFC 5737), so that no rule means it.
SOMEBODY: Final = "192.0.2.1"
#: The schemes of HTTP URLs and the ports that they mean where none is written.
HTTP_PORTS: Final = {"http": 80, "https": 443}
#: Schemes of connections, TLS by its server name, and of datagrams.
_RELAYED: Final = ("tcp", "tls", "udp")


class QuestionError(ValueError):
    """A question that cannot be understood; the message is for whoever asked."""


@dataclass(frozen=True, slots=True)
class At:
    """A listener as somebody names it; `address` None = any address.

    `place` is the interface and the network namespace that it listens in, as listeners show them (``%eth1@inside``), "" = any.
    """

    address: str | None
    port: int
    place: str = ""

    def __str__(self) -> str:
        host = self.address
        said = str(self.port) if host is None else f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        return said + self.place


@dataclass(frozen=True, slots=True)
class Question:
    """One request or connection. `scheme` is ``http``, ``https``, ``tcp``, ``tls``, ``udp`` or ``connect``; `port` is the
    URL's, None = none.

    `head` is the request's head as it goes over the wire, b"" for connections. `source` is the client's address.
    """

    method: str
    url: str
    scheme: str
    host: str
    port: int | None
    head: bytes
    source: str
    listener: At | None


def read_question(
    method: str, url: str, headers: Sequence[str] = (), source: str = "", listener: str = "",
) -> Question:
    """The question that these words ask; `headers` are ``name: value``. Raises `QuestionError`.

    A `method` of ``-`` asks for a connection (``tcp://address:port``, ``tls://name:port``), datagrams (``udp://...``) or a name
    of DNS (``dns:name/type``, which is then the `host`).
    Nothing is put right on the way: what a client would be refused for is what the answer then says.
    """
    at = None if not listener else read_listener(listener)
    if source:
        try:
            source = str(ip_address(source))
        except ValueError:
            raise QuestionError(f"{source!r} is not an IP address, and a client has one") from None
    source = source or SOMEBODY
    if method == "CONNECT":
        return _tunnel(url, headers, source, at)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise QuestionError(f"{url!r} is not a URL: {error}") from None
    scheme = parts.scheme.lower()
    if scheme == "dns":
        return _name(method, url, parts, headers, source, at)
    if method == "-" or scheme in _RELAYED:
        return _connection(method, url, parts, port, headers, source, at)
    if url.startswith("/") or url == "*":
        scheme, target, host = "http", url.partition("#")[0], ""
    elif scheme in HTTP_PORTS and parts.netloc:
        target = parts.path or ("*" if method == "OPTIONS" and not parts.query else "/")
        target += f"?{parts.query}" if parts.query or "?" in url.partition("#")[0] else ""
        host = parts.netloc.rpartition("@")[2]
    else:
        raise QuestionError(f"{url!r} is not a URL such as http://shop.example.com/cart; a path alone (/cart) will do "
                            "with -H 'Host: ...'")
    lines, named = _fields(headers)
    if named is None and not host:
        raise QuestionError("nobody can tell the virtual host of a path alone; write the whole URL, or -H 'Host: ...'")
    if named is None:
        lines.insert(0, f"Host: {host}")
    head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])
    return Question(method, url, scheme, parts.hostname or "", port, head.encode("utf-8", "surrogateescape"), source, at)


def _tunnel(target: str, headers: Sequence[str], source: str, at: At | None) -> Question:
    """``CONNECT host:port``, which a client asks of a forward proxy. Raises `QuestionError`."""
    host, colon, port = target.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise QuestionError(f"{target!r} is not a host with a port, as CONNECT wants it: example.com:443")
    if headers:
        raise QuestionError("no header field of a CONNECT is looked at, but for its login")
    return Question("CONNECT", target, "connect", host.removeprefix("[").removesuffix("]"), int(port), b"", source, at)


def read_listener(text: str) -> At:
    """``127.0.0.1:8080``, ``[::1]:8080``, ``*:8080`` or ``8080``, perhaps with ``%eth1`` or ``@inside`` behind it.

    Raises `QuestionError`.
    """
    address, colon, port = text.rpartition(":")
    digits = len(port) - len(port.lstrip("0123456789"))
    port, place = port[:digits], port[digits:]
    if place and place[0] not in "%@":
        port = ""
    address = address.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise QuestionError(f"{text!r} is not a listener such as 127.0.0.1:8080, or a port")
    if address in ("", "*"):
        return At(None, int(port), place)
    try:
        return At(str(ip_address(address)), int(port), place)
    except ValueError:
        raise QuestionError(f"{address!r} in {text!r} is not an IP address") from None


def _connection(
    method: str, url: str, parts: SplitResult, port: int | None, headers: Sequence[str], source: str, at: At | None,
) -> Question:
    scheme = parts.scheme.lower()
    if method != "-" or scheme not in _RELAYED:
        raise QuestionError("a connection is asked for as: - tcp://ADDRESS:PORT, - tls://NAME:PORT or - udp://ADDRESS:PORT; "
                            "a name as: - dns:NAME/TYPE")
    if port is None:
        raise QuestionError(f"{url!r} names no port")
    if headers:
        raise QuestionError("a relayed connection has no header fields that the gateway would look at")
    return Question(method, url, scheme, parts.hostname or "", port, b"", source, at)


def _name(
    method: str, url: str, parts: SplitResult, headers: Sequence[str], source: str, at: At | None,
) -> Question:
    if method != "-" or parts.netloc or not parts.path.strip("/") or headers:
        raise QuestionError(f"{url!r} is not a question of DNS; one is asked as: - dns:shop.apps.example.com/A")
    return Question(method, url, "dns", parts.path, None, b"", source, at)


def _fields(headers: Sequence[str]) -> tuple[list[str], str | None]:
    """The field lines, Host first, and Host's value if one of them is that."""
    hosts: list[str] = []
    lines: list[str] = []
    for text in headers:
        name, colon, value = text.partition(":")
        if not colon or "\n" in text or "\r" in text:
            raise QuestionError(f"{text!r} is not a header field such as 'x-canary: always'")
        (hosts if name.strip().lower() == "host" else lines).append(text)
    return [*hosts, *lines], hosts[0].partition(":")[2].strip() if hosts else None
