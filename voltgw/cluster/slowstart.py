"""Slow start: an endpoint that has just come, or come back, gets its share bit by bit.

The formula is Envoy's (``EdfLoadBalancerBase::applySlowStartFactor``): weight x max(min_weight_percent, (t / window) ^ (1 /
aggression)), t at least 1 ms. Linear with aggression 1; above it, faster in the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The window is divided into so many steps…
STEPS: Final = 100
#: …but none is shorter or longer than this.
LEAST_STEP_S: Final = 0.05
MOST_STEP_S: Final = 1.0
_LEAST_T_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class SlowStart:
    """How a cluster's endpoints begin; a plain value."""

    window_s: float
    aggression: float = 1.0
    min_weight_percent: float = 10.0

    def factor(self, since_s: float) -> float:
        """What the weight counts for `since_s` seconds after the beginning: from the least share to 1.0."""
        if since_s >= self.window_s:
            return 1.0
        grown: float = (max(since_s, _LEAST_T_S) / self.window_s) ** (1.0 / self.aggression)
        return max(self.min_weight_percent / 100.0, grown)

    @property
    def step_s(self) -> float:
        """How often factors are worked out anew."""
        return min(max(self.window_s / STEPS, LEAST_STEP_S), MOST_STEP_S)
