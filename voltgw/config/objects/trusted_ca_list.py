"""trusted_ca_list: certificates that are trusted (objects.md 17)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.contents import Content
from voltgw.config.schema import field, message


@message
class TrustedCaListSpec:
    """Certificates that are trusted, for those who refer to them."""

    SINCE: ClassVar = "+2023-08"

    trusted_ca_url: bytes | None = field(Content(512000, pem=True), "PEM trust store.")
