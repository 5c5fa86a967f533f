"""bgp_asn_set: autonomous systems under one name (objects.md 17 names it)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf
from voltgw.config.objects.parts import MAX_ASN
from voltgw.config.schema import field, message
from voltgw.config.types import Number


@message
class BgpAsnSetSpec:
    """Autonomous systems under one name."""

    SINCE: ClassVar = ""

    as_numbers: tuple[int, ...] = field(ListOf(Number(most=MAX_ASN)), "AS numbers.")
