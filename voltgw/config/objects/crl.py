"""crl: where a list of revoked certificates is fetched; the kind stands in objects.md only by name."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.contents import Content
from voltgw.config.formats import HOST
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Flag, Number, Text


@message
class CrlHttpAccess:
    """Fetched by HTTP."""

    SINCE: ClassVar = ""

    path: str | None = field(Text(), "Path on the server.")


@message
class CrlExtension:
    """What voltgw adds to a list of revoked certificates."""

    SINCE: ClassVar = "voltgw"

    crl: bytes | None = field(
        Content(4 << 20, pem=True), "The list itself (PEM); whoever fetches it replaces the file in time.",
        example="file:ca/crl.pem")


@message
class CrlSpec:
    """A list of revoked certificates on a server."""

    SINCE: ClassVar = ""

    server_address: str | None = field(Text(HOST), "The server.")
    server_port: int | None = field(Number(most=65535, zero_is_absent=True), "Its port.", absent="80")
    http_access: CrlHttpAccess | None = field(
        Nested(CrlHttpAccess), "It is fetched by HTTP.", group="access_info_choice")
    refresh_interval_s: float | None = field(Duration("h"), "It is fetched this often.")
    timeout_s: float | None = field(Duration("s"), "It must be there in this time.")
    verify_all_certs_with_crl: bool = field(Flag(), "The whole chain is looked up in it, not only the leaf.")
    voltgw: CrlExtension | None = field(Nested(CrlExtension), "What voltgw adds.", since="voltgw")
