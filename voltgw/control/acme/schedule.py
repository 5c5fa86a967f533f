"""When a certificate is renewed, and when a try that failed is followed by another. Pure: times are handed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: Part of its life after which a certificate is renewed where the operator says nothing.
RENEW_AT: Final = 2 / 3
#: Renewals are spread over this part of a certificate's life, earlier: a thousand certificates of one day are not due at once.
SPREAD: Final = 0.02
#: The wait after a first failure (seconds), doubled by each further one. A public CA takes five failures an hour for a name.
FIRST_WAIT_S: Final = 300.0
#: The same where the CA was not reached: nothing was asked of it, so nothing is counted there.
FIRST_WAIT_UNREACHED_S: Final = 60.0
MOST_WAIT_S: Final = 6 * 3600.0
#: Least time between two tries (seconds), however often somebody asks for another one: four an hour.
HURRIED_S: Final = 900.0
#: Waits are up to this part longer by chance, so that gateways that failed together do not come back together.
_JITTER: Final = 0.1
#: Failures beyond which the wait is the longest anyway.
_MOST_DOUBLED: Final = 16


def renewal(begin: float, end: float, renew_before_s: float | None, share: float) -> float:
    """When to renew a certificate that is valid from `begin` to `end` (seconds since the epoch, like the result).

    `renew_before_s` wins where it leaves the certificate at least half of its life; `share` in [0, 1) is this certificate's
    place in the spread, the same one every time.
    """
    life = end - begin
    due = begin + life * RENEW_AT
    if renew_before_s is not None:
        due = max(end - renew_before_s, begin + life / 2)
    return due - life * SPREAD * share


def wait_s(failures: int, reached: bool, retry_after_s: float | None, random: Callable[[], float]) -> float:
    """How long to wait after so many failures in a row (at least 1), the last of which `reached` the CA or did not.

    What the CA asks for (`retry_after_s`) is never cut short.
    """
    first = FIRST_WAIT_S if reached else FIRST_WAIT_UNREACHED_S
    wait: float = min(first * 2 ** min(failures - 1, _MOST_DOUBLED), MOST_WAIT_S)
    wait += wait * _JITTER * random()
    return wait if retry_after_s is None else max(wait, retry_after_s * (1 + 0.01 * random()))
