"""Certificates for tests, made once a run; `NOW` is the real now, since TLS libraries ask the clock themselves."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache
from typing import Final

from voltgw.config.issuing import Issued, Usage, issue, new_authority

NOW: Final = datetime.now(UTC)


@cache
def authority(name: str = "lab") -> Issued:
    """A CA of that name, the same one every time."""
    return new_authority(f"{name} CA", NOW, 400)


@cache
def server(*names: str, ca: str = "lab") -> Issued:
    """A server's certificate with these names."""
    return issue(authority(ca), names[0], names, Usage.SERVER, NOW, 60)


@cache
def client(name: str, *names: str, ca: str = "lab") -> Issued:
    """A client's certificate with the subject `name` and these alternative names."""
    return issue(authority(ca), name, names, Usage.CLIENT, NOW, 60)


def inline(pem: bytes) -> str:
    """A URL that holds it."""
    return "string:///" + base64.b64encode(pem).decode()


def shown(*pairs: Issued) -> str:
    """``tls_certificates`` with these."""
    return "tls_certificates: [" + ", ".join(
        f"{{certificate_url: '{inline(one.certificate)}', private_key: {{clear_secret_info: {{url: '{inline(one.key)}'}}}}}}"
        for one in pairs) + "]"
