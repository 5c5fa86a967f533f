"""What endpoints are told of a client's certificate: X-Forwarded-Client-Cert, Client-Cert and Client-Cert-Chain (RFC 9440).

Copies of these fields that a client sends are set aside with everything else that it says of itself, and never passed on. The
lines are made once for each connection. It is imported only where a virtual host asks for them, since `cryptography` takes a
while to load.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from cryptography import x509

from voltgw.config.certificates import alternative_names, subject

if TYPE_CHECKING:
    from voltgw.values.tls import Tells

#: Most bytes of one of these lines: origins refuse heads that are much larger, and a chain has no end by itself.
MAX_LINE_BYTES: Final = 16 * 1024


def certificate_lines(chain: tuple[bytes, ...], tells: Tells) -> bytes:
    """The lines for a client's certificate chain (DER, leaf first), joined; b"" when it has shown none.

    A line that would be larger than `MAX_LINE_BYTES` is left out.
    """
    if not chain:
        return b""
    lines = []
    if tells.xfcc:
        lines.append(b"x-forwarded-client-cert: " + ";".join(_elements(chain, tells.xfcc)).encode("ascii", "backslashreplace"))
    if tells.client_cert:
        lines.append(b"client-cert: " + _binary(chain[0]))
    if tells.client_cert == "CHAIN" and len(chain) > 1:
        lines.append(b"client-cert-chain: " + b", ".join(map(_binary, chain[1:])))
    return b"\r\n".join(line for line in lines if len(line) <= MAX_LINE_BYTES)


def _elements(chain: tuple[bytes, ...], asked: tuple[str, ...]) -> Iterator[str]:
    """The pairs of X-Forwarded-Client-Cert in Envoy's order, the hash of the leaf always first."""
    leaf = x509.load_der_x509_certificate(chain[0])
    yield f"Hash={sha256(chain[0]).hexdigest()}"
    if "XFCC_CERT" in asked:
        yield f'Cert="{_pem(chain[0])}"'
    if "XFCC_CHAIN" in asked:
        yield f'Chain="{"".join(map(_pem, chain))}"'
    if "XFCC_SUBJECT" in asked:
        yield f'Subject="{_quoted(subject(leaf))}"'
    names = alternative_names(leaf)
    if "XFCC_URI" in asked:
        yield from (f"URI={_value(uri)}" for kind, uri in names if kind == "URI")
    if "XFCC_DNS" in asked:
        yield from (f"DNS={_value(name)}" for kind, name in names if kind == "DNS")


def _pem(der: bytes) -> str:
    """A certificate as PEM, percent-encoded."""
    text = base64.b64encode(der).decode("ascii")
    body = "\n".join(text[at:at + 64] for at in range(0, len(text), 64))
    return quote(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n", safe="")


def _quoted(text: str) -> str:
    return "".join(" " if one < " " or one == "\x7f" else one for one in text).replace("\\", "\\\\").replace('"', '\\"')


def _value(text: str) -> str:
    """A value, quoted where it has characters that would end it."""
    return f'"{_quoted(text)}"' if any(one in ',;="\\' or one <= " " or one == "\x7f" for one in text) else text


def _binary(der: bytes) -> bytes:
    """A byte sequence of Structured Fields (RFC 9651 3.3.5)."""
    return b":" + base64.b64encode(der) + b":"
