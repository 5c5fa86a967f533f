"""Signatures of requests to AWS, version 4 (AWS General Reference, "Signature Version 4 signing process"). Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials; `token` is there for those that expire, `expires` is when (seconds since 1970, None = not known)."""

    identity: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    expires: float | None = None


def signed(method: str, url: str, headers: Mapping[str, str], body: bytes, keys: Keys, region: str, service: str,
           wall: float) -> dict[str, str]:
    """The header fields with which a request is sent: `headers`, and those that prove who sends it at the time `wall`.

    Names of `headers` are in lower case; paths and queries of `url` are encoded already.
    """
    parts = urlsplit(url)
    stamp = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "host": parts.netloc, "x-amz-date": stamp}
    if keys.token:
        sent["x-amz-security-token"] = keys.token
    names = ";".join(sorted(sent))
    canonical = "\n".join((
        method, quote(parts.path or "/", safe="/-_.~"), _query(parts.query),
        *(f"{name}:{' '.join(sent[name].split())}" for name in sorted(sent)), "", names, hashlib.sha256(body).hexdigest()))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    del sent["host"]                                # the HTTP client writes it
    return {**sent, "authorization": f"{_ALGORITHM} Credential={keys.identity}/{scope}, SignedHeaders={names}, "
                                     f"Signature={signature}"}


def _query(query: str) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(
        query, keep_blank_values=True))
    return "&".join(f"{name}={value}" for name, value in pairs)
