"""What makes ``twistd voltgw`` a command; `voltgw.tap` is imported only when it is asked for."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

gateway = ServiceMaker(
    "voltgw",
    "voltgw.tap",
    "A gateway that balances, routes and explains.",
    "voltgw",
)
