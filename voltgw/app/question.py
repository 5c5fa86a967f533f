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
#: Kinds of question that there will be an answer for when their listeners are served.
_LATER: Final = ("dns",)
#: Schemes of connections, TLS by its server name, and of datagrams.
_RELAYED: Final = ("tcp", "tls", "udp")


class QuestionError(ValueError):
    """A question that cannot be understood; the message is for whoever asked."""


@dataclass(frozen=True, slots=True)
class At:
    """A listener as somebody names it; `address` None = any address."""

    address: str | None
    port: int

    def __str__(self) -> str:
        host = self.address
        return str(self.port) if host is None else f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Question:
    """One request or connection. `scheme` is ``http``, ``https``, ``tcp``, ``tls`` or ``udp``; `port` the URL's, None = none.

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

    A `method` of ``-`` asks for a connection (``tcp://address:port``, ``tls://name:port``) or datagrams (``udp://...``).
    Nothing is put right on the way: what a client would be refused for is what the answer then says.
    """
    at = None if not listener else read_listener(listener)
    if source:
        try:
            source = str(ip_address(source))
        except ValueError:
            raise QuestionError(f"{source!r} is not an IP address, and a client has one") from None
    source = source or SOMEBODY
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise QuestionError(f"{url!r} is not a URL: {error}") from None
    scheme = parts.scheme.lower()
    if method == "-" or scheme in _RELAYED:
        return _connection(method, url, parts, port, headers, source, at)
    if scheme in _LATER:
        raise QuestionError(f"{scheme} listeners are not served yet; http://, https://, tcp://, tls:// and udp:// are")
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


def read_listener(text: str) -> At:
    """``127.0.0.1:8080``, ``[::1]:8080``, ``*:8080`` or ``8080``. Raises `QuestionError`."""
    address, colon, port = text.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise QuestionError(f"{text!r} is not a listener such as 127.0.0.1:8080, or a port")
    if address in ("", "*"):
        return At(None, int(port))
    try:
        return At(str(ip_address(address)), int(port))
    except ValueError:
        raise QuestionError(f"{address!r} in {text!r} is not an IP address") from None


def _connection(
    method: str, url: str, parts: SplitResult, port: int | None, headers: Sequence[str], source: str, at: At | None,
) -> Question:
    scheme = parts.scheme.lower()
    if scheme in _LATER:
        raise QuestionError(f"{scheme} listeners are not served yet; tcp://, tls:// and udp:// are")
    if method != "-" or scheme not in _RELAYED:
        raise QuestionError("a connection is asked for as: - tcp://ADDRESS:PORT, - tls://NAME:PORT or - udp://ADDRESS:PORT")
    if port is None:
        raise QuestionError(f"{url!r} names no port")
    if headers:
        raise QuestionError("a relayed connection has no header fields that the gateway would look at")
    return Question(method, url, scheme, parts.hostname or "", port, b"", source, at)


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
