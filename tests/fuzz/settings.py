"""How the fuzz targets run: the same examples every time, few enough for every run of the tests.

`examples(n)` decorates a test. For a long hunt set ``VOLTGW_FUZZ_EXAMPLES`` to how many times as many shall be tried;
they
are then drawn at random.
"""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

_FACTOR: Final = int(os.environ.get("VOLTGW_FUZZ_EXAMPLES", "1"))


def examples(count: int) -> settings:
    """Settings for `count` examples; no database, no deadline (a shared machine is slow at times)."""
    return settings(
        max_examples=count * _FACTOR, derandomize=_FACTOR == 1, database=None, deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
