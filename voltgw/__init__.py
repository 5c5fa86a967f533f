"""voltgw: a gateway that balances, routes and explains, on Twisted."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
