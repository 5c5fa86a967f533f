"""What voltgw adds to `outlier_detection` of a cluster, under ``voltgw: {outlier: …}``; names and defaults are Envoy's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from voltgw.config.quantities import Duration
from voltgw.config.schema import Rule, field, message
from voltgw.config.types import Flag, Number


@message
class OutlierExtension:
    """Finer rules of outlier detection. An ``enforcing`` value says how many percent of those that are found are ejected."""

    SINCE: ClassVar = "voltgw"

    split_external_local_origin_errors: bool = field(
        Flag(), "Tell endpoints that do not answer (not connected, reset, too late) apart from those that answer 5xx; without "
        "it they count as 502 and 504.")
    consecutive_local_origin_failure: int | None = field(
        Number(1, 1024), "Times in a row without an answer before it is taken out, where they are told apart.", absent="5")
    enforcing_consecutive_5xx: int | None = field(Number(0, 100), "Percent; 0 only counts.", absent="100")
    enforcing_consecutive_gateway_failure: int | None = field(
        Number(0, 100), "Percent.", absent="100 where `consecutive_gateway_failure` is set, else 0")
    enforcing_consecutive_local_origin_failure: int | None = field(Number(0, 100), "Percent.", absent="100")
    enforcing_success_rate: int | None = field(Number(0, 100), "Percent.", absent="100")
    enforcing_local_origin_success_rate: int | None = field(Number(0, 100), "Percent.", absent="100")
    success_rate_minimum_hosts: int | None = field(
        Number(1, 65535), "Endpoints with enough requests in an interval, below which success rates are not compared.",
        absent="5")
    success_rate_request_volume: int | None = field(
        Number(1), "Requests in an interval that are enough.", absent="100")
    success_rate_stdev_factor: int | None = field(
        Number(0, 100000), "Thousandths: who is below mean - factor x standard deviation is taken out.", absent="1900")
    enforcing_failure_percentage: int | None = field(Number(0, 100), "Percent.", absent="0")
    enforcing_failure_percentage_local_origin: int | None = field(Number(0, 100), "Percent.", absent="0")
    failure_percentage_threshold: int | None = field(
        Number(1, 100), "Percent of an interval's requests that failed from which an endpoint is taken out.", absent="85")
    failure_percentage_minimum_hosts: int | None = field(
        Number(1, 65535), "Endpoints with enough requests, below which nobody is judged so.", absent="5")
    failure_percentage_request_volume: int | None = field(Number(1), "Requests that are enough.", absent="50")
    max_ejection_time_s: float | None = field(
        Duration("ms", 1, 86400000), "An ejection is never longer.", absent="300 s, or `base_ejection_time` if that is longer")
    max_ejection_time_jitter_s: float | None = field(
        Duration("ms", 0, 3600000), "A random part of this is added to each ejection.", absent="0 s")
    time_only: bool = field(
        Flag(), "A passing health check does not end an ejection (Envoy's ``successful_active_health_check_uneject_host: "
        "false``).")

    def rules(self) -> Iterable[Rule]:
        """What is only counted apart needs to be told apart."""
        if self.consecutive_local_origin_failure is not None and not self.split_external_local_origin_errors:
            yield Rule("consecutive_local_origin_failure", "VG0105",
                       "it needs `split_external_local_origin_errors: true`, else failures are not told apart")
