"""Health checks in a simulation: by the real prober, with real probes where simulated endpoints speak their language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from voltgw.control.probes.run import ProbeRun

if TYPE_CHECKING:
    from voltgw.app.simulation.origins import Dial, Origin
    from voltgw.cluster.plan import CheckPlan
    from voltgw.control.probes.target import Check
    from voltgw.errors import ConnectFailed

_ASKED: Final = b"PROBE / HTTP/1.1\r\nhost: a\r\n\r\n"


class StandInRun(ProbeRun):
    """A probe that asks as a plain request does; an error is what any other answer would be to the real one."""

    __slots__ = ()

    def connected(self) -> None:
        """Ask."""
        self.transport.write(_ASKED)

    def dataReceived(self, data: bytes) -> None:
        """The answer, whole."""
        if not self._over:
            status = int(data[9:12])
            self.verdict(status < 400, f"the answer is {status}")

    def ended(self) -> str:
        """The endpoint has closed."""
        return "the connection was closed before an answer"


class StandIn:
    """Takes the place of a probe in a protocol that simulated endpoints do not speak."""

    def prepare(self, hostname: str, address: str, port: int, /) -> Callable[[], ProbeRun]:
        """Nothing depends on the endpoint."""
        return StandInRun


def is_real(plan: CheckPlan) -> bool:
    """Whether simulated endpoints can pass this check as it is: they answer 200 and two bytes, in HTTP/1.1."""
    raw = plan.options
    if plan.kind == "http":
        statuses = raw.expected_status_codes
        wanted = not statuses or any(first <= 200 <= last for first, last in map(_span, statuses))
        return bool(wanted and not raw.use_http2 and not raw.expected_response)
    return plan.kind == "tcp" and not raw.send_payload and not raw.expected_response


def playable(check: Check, plan: CheckPlan) -> Check:
    """The check as it is played: its times and thresholds are its own."""
    return check if is_real(plan) else replace(check, probe=StandIn())


def _span(statuses: Any) -> tuple[int, int]:
    return (statuses[0], statuses[-1])


def prober_dial(origin_of: Callable[[Any], Origin]) -> Callable[..., Dial]:
    """What the prober dials with; `origin_of` finds the endpoint by its key."""

    def dial(
        loop: object, address: str, port: int, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None],
        **more: object,
    ) -> Dial:
        return origin_of(protocol.target.member.key).dial(protocol, timeout_s, failed, probe=True)

    return dial
