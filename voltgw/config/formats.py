"""What the text of a field may look like: addresses, names, paths, header names.

Each function returns the text in its normal form or raises ValueError with a reason fit for a user. `Format` joins one
with the words of the reference page and the pattern of the JSON Schema.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")        # RFC 9110 5.6.2
_URL: Final = re.compile(r"https?://([^/?#@\s]+)(?:[/?][!-~]*)?")
_PATH: Final = re.compile(r"/[!-~]*")
_OBJECT_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of text: how it is called, how it is read, and (for editors) a JSON Schema pattern or format.

    `code` is that of the error for text which is not of this kind.
    """

    words: str
    read: Callable[[str], str]
    pattern: str = ""
    schema_format: str = ""
    code: str = "VG0110"


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 or IPv6 address") from None


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address") from None


def _prefix(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 or IPv6 prefix such as 192.0.2.0/24") from None


def _hostname(text: str) -> str:
    name = text.lower().removesuffix(".")
    if len(name) > 253:
        raise ValueError("a host name has at most 253 characters")
    if not name.isascii():
        raise ValueError(f"{text!r} has characters outside ASCII; write its xn-- form")
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{text!r} is not a host name" + (": a label is empty" if not label else ""))
    return name


def _host(text: str) -> str:
    """A host name, an IPv4 address or an IPv6 address in brackets."""
    if text.startswith("[") and text.endswith("]"):
        return f"[{_ip(text[1:-1])}]"
    return _hostname(text)


def split_port(text: str) -> tuple[str, int | None]:
    """``host``, ``host:port``, ``[v6]:port`` taken apart; raises ValueError when the port is no port."""
    head, colon, tail = text.rpartition(":")
    if not colon or text.endswith("]") or ":" in head and not (head.startswith("[") and head.endswith("]")):
        return text, None
    if not tail.isascii() or not tail.isdigit() or not 0 < int(tail) <= 65535:
        raise ValueError(f"{tail!r} in {text!r} is not a port")
    return head, int(tail)


def _hostport(text: str) -> str:
    host, port = split_port(text)
    return _host(host) if port is None else f"{_host(host)}:{port}"


def _domain(text: str) -> str:
    """A virtual host's domain: ``host``, ``*.host``, ``*-bar.host``, ``*``, each with an optional ``:port``."""
    name, port = split_port(text.lower())
    suffix = "" if port is None else f":{port}"
    if name == "*":
        return f"*{suffix}"
    if name.startswith("*"):
        rest = name[1:]
        if "*" in rest:
            raise ValueError(f"{text!r} has more than one *")
        if rest[0] not in ".-":
            raise ValueError(f"in {text!r} a . or - must follow the *")
        _hostname("x" + rest)
        return f"*{rest.removesuffix('.')}{suffix}"
    if "*" in name:
        raise ValueError(f"in {text!r} the * must come first")
    return _host(name) + suffix


def _http_path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"the path {text!r} must begin with /")
    if not _PATH.fullmatch(text):
        raise ValueError(f"the path {text!r} holds a space or another character that must be percent-encoded")
    return text


def _header_name(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not a header name")
    return text


#: What a client or an origin must not be told by an edit: the codec writes these itself from what it does.
_FRAMING: Final = frozenset(("content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade",
                             "proxy-connection"))


def _edited_header(text: str) -> str:
    if text.startswith(":"):
        raise ValueError(f"{text!r} is not a header of HTTP/1.1; use host_rewrite or prefix_rewrite to change it")
    name = _header_name(text)
    if name.lower() in _FRAMING:
        raise ValueError(f"{name} frames the message or belongs to one connection, so it cannot be edited")
    if name.lower() == "host":
        raise ValueError("Host is not edited as a header; use host_rewrite or auto_host_rewrite of the route's destination")
    return name


def _field_text(text: str) -> str:
    if any(c < " " and c != "\t" or c == "\x7f" for c in text):
        raise ValueError("a header value may not hold line ends or other control characters")
    return text.strip(" \t")


def _url(text: str) -> str:
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError("this is not a URL that begins with https:// or http://")     # it may hold a password
    try:
        _host(split_port(found[1])[0])
    except ValueError as error:
        raise ValueError(f"of this URL, {error}") from None
    return text


def _key_digest(text: str) -> str:
    try:
        return _sha256(text)
    except ValueError:                      # its message shows the text, which may be the key itself
        raise ValueError("this is not the SHA-256 of a key: 64 hexadecimal digits, or 44 characters of base64") from None


def _object_name(text: str) -> str:
    if len(text) > 253 or not _OBJECT_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name: letters, digits and inside it . _ - (at most 253)")
    return text


def _hex(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a row of hexadecimal bytes such as 50494e47") from None
    return text


def _sha256(text: str) -> str:
    digest = text.removeprefix("sha256//").removeprefix("sha256/")
    digits = digest.replace(":", "").lower()
    if len(digits) == 64 and all(one in "0123456789abcdef" for one in digits):
        return digits
    try:
        found = base64.b64decode(digest, validate=True)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ValueError(f"{text!r} is not a SHA-256 digest, which is 44 characters of base64 or 64 hexadecimal digits")
    return found.hex()


IP: Final = Format("IP address", _ip)
IPV4: Final = Format("IPv4 address", _ipv4, schema_format="ipv4")
PREFIX: Final = Format("IP prefix", _prefix)
HOSTNAME: Final = Format("host name", _hostname)
HOST: Final = Format("host name or address", _host)
HOSTPORT: Final = Format("host or host:port", _hostport)
SHA256: Final = Format("SHA-256 digest in base64 or hexadecimal", _sha256)
KEY_DIGEST: Final = Format("SHA-256 of a key", _key_digest)
URL: Final = Format("URL", _url)
DOMAIN: Final = Format("domain: host, *.host or *, with an optional :port", _domain)
HTTP_PATH: Final = Format("path that begins with /", _http_path, pattern="^/[!-~]*$")
HEADER_NAME: Final = Format("header name", _header_name, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
EDITED_HEADER: Final = Format("header name", _edited_header, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
FIELD_TEXT: Final = Format("header value", _field_text)
OBJECT_NAME: Final = Format("object name", _object_name, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
HEX: Final = Format("hexadecimal bytes", _hex, pattern="^([0-9a-fA-F]{2})*$")


# -- what only kinds that nothing acts on yet hold ----------------------------------------------------------------------

_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID: Final = re.compile(r"[a-fA-F0-9]{8}-(?:[a-fA-F0-9]{4}-){3}[a-fA-F0-9]{12}")
_JA3: Final = re.compile(r"[0-9a-fA-F]{32}")
_JA4: Final = re.compile(r"[0-9A-Za-z_]{36}")
_WAF_RULE: Final = re.compile(r"WAF_RULE_[0-9]{6}")
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "COPY"))


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv6 address") from None


def _ipv4_prefix(text: str) -> str:
    try:
        return str(ipaddress.IPv4Network(text, strict=False))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 prefix such as 192.0.2.0/24") from None


def _ipv6_prefix(text: str) -> str:
    try:
        return str(ipaddress.IPv6Network(text, strict=False))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv6 prefix such as 2001:db8::/32") from None


def _methods(text: str) -> str:
    """Methods with commas between them, or one ``*`` (the Fetch standard's)."""
    for method in text.split(","):
        if method.strip() not in _METHODS and text.strip() != "*":
            raise ValueError(f"{method.strip()!r} is not one of the methods {', '.join(sorted(_METHODS))}")
    return text


def _like(pattern: re.Pattern[str], words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} is not {words}")
        return text
    return read


IPV6: Final = Format("IPv6 address", _ipv6, schema_format="ipv6")
IPV4_PREFIX: Final = Format("IPv4 prefix", _ipv4_prefix)
IPV6_PREFIX: Final = Format("IPv6 prefix", _ipv6_prefix)
METHODS: Final = Format("methods with commas between them", _methods)
TIMESTAMP: Final = Format("time such as 2026-01-31T12:00:00Z", _like(_TIMESTAMP, "a time such as 2026-01-31T12:00:00Z"))
UUID: Final = Format("UUID", _like(_UUID, "a UUID"))
JA3: Final = Format("JA3 fingerprint", _like(_JA3, "a JA3 fingerprint: 32 hexadecimal digits"))
JA4: Final = Format("JA4 fingerprint", _like(_JA4, "a JA4 fingerprint: 36 characters"))
WAF_RULE: Final = Format("core rule", _like(_WAF_RULE, "the name of a core rule such as WAF_RULE_942100"))
