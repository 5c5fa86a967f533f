"""What a virtual host, a route object or a rule says of traces; ``gateway.tracing`` says the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from voltgw.config.schema import Rule, field, message
from voltgw.config.types import Decimal, Flag


@message
class TracingType:
    """Which requests are recorded; without ``gateway.tracing`` nothing is, whatever stands here."""

    SINCE: ClassVar = "voltgw"

    disabled: bool = field(
        Flag(), "These requests take no part: what they say of a trace goes to the endpoint as it came.")
    sample: float | None = field(
        Decimal(0, 1), "Part of the traces that begin here which is recorded.", absent="that of ``gateway.tracing``",
        example="1")

    def rules(self) -> Iterable[Rule]:
        """Of what takes no part, no part is recorded."""
        if self.disabled and self.sample is not None:
            yield Rule("sample", "VG0106", "with `disabled` nothing is recorded")
