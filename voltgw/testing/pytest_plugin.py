"""The fixture that pytest finds where voltgw is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from voltgw.testing import Gateway


@pytest.fixture
def voltgw_gateway() -> Iterator[Callable[..., Gateway]]:
    """Makes gateways, as `voltgw.testing.Gateway` does, and closes them when the test is over."""
    from voltgw.testing import Gateway  # only for a test that asks

    made: list[Gateway] = []

    def make(*args: Any, **named: Any) -> Gateway:
        made.append(Gateway(*args, **named))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()
