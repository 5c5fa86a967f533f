"""Policies that both a virtual host and a route may carry: retries, buffering, CORS, CSRF, WAF (objects.md 3.6 to 3.10)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from voltgw.config.compound import ListOf, refs
from voltgw.config.formats import DOMAIN, METHODS
from voltgw.config.quantities import Duration, Size
from voltgw.config.reader import REFUSES
from voltgw.config.regexes import REGEX
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Flag, Number, Presence, Text
from voltgw.config.values import Ref

#: Conditions on which a request is tried again; the last one is newer than the others.
RETRY_CONDITIONS: Final = (
    "5xx", "gateway-error", "connect-failure", "refused-stream", "retriable-4xx", "retriable-status-codes", "reset",
)


@message
class RetryBackOff:
    """Exponential back-off between tries."""

    base_interval_s: float | None = field(Duration("ms"), "First pause.", absent="25 ms")
    max_interval_s: float | None = field(Duration("ms"), "Longest pause; at least base_interval.", absent="10 x base_interval")

    def rules(self) -> Iterable[Rule]:
        """The longest pause is no shorter than the first."""
        if self.max_interval_s is not None and self.max_interval_s < (self.base_interval_s or 0.025):
            yield Rule("max_interval_s", "VG0103", "max_interval is shorter than base_interval")


@message
class RetryPolicyType:
    """When a failed request is tried again."""

    retry_on: str | None = field(
        Text(one_of=("", *RETRY_CONDITIONS[:-1])), "One condition (the form of 2020).", since="2020†")
    retry_condition: tuple[str, ...] = field(
        ListOf(Text(one_of=RETRY_CONDITIONS), most=7, unique=True), "Conditions; any of them is enough.", since="+2021-08")
    num_retries: int | None = field(Number(most=8), "Further tries.", absent="1")
    per_try_timeout_s: float | None = field(Duration("ms", 0, 600000), "Longest time of one try.", absent="none")
    retriable_status_codes: tuple[int, ...] = field(
        ListOf(Number(100, 599), most=16, unique=True), "Statuses for ``retriable-status-codes``.")
    back_off: RetryBackOff | None = field(Nested(RetryBackOff), "Pauses between tries.", absent="25 ms to 250 ms")


@message
class BufferConfigType:
    """Read the whole request before it is sent on."""

    disabled: bool = field(Flag(), "On a route: switch off what the virtual host asked for.")
    max_request_bytes: int | None = field(
        Size("B", 0, 10485760), "Largest body that is held; beyond it 413.", name="max_request_bytes", absent="1 MiB")
    max_request_time_s: float | None = field(
        Duration("s", 0, 600), "Longest wait for the whole request; then 408.", since="2020†")


@message
class CorsPolicy:
    """What other origins' pages may do (the Fetch standard's CORS protocol)."""

    disabled: bool = field(Flag(), "On a route: switch off the virtual host's policy.")
    allow_origin: tuple[str, ...] = field(
        ListOf(Text(least=1, most=256), most=128, unique=True), "Exact origins.")
    allow_origin_regex: tuple[str, ...] = field(
        ListOf(Text(REGEX, least=1, most=256), most=16, unique=True), "Patterns of origins; either list may match.")
    allow_methods: str | None = field(Text(METHODS), "Text of access-control-allow-methods.")
    allow_headers: str | None = field(Text(), "Text of access-control-allow-headers.")
    expose_headers: str | None = field(Text(), "Text of access-control-expose-headers.")
    max_age: str | None = field(Text(), "Text of access-control-max-age (old).", since="2020†")
    maximum_age_s: float | None = field(
        Duration("s", -1, 86400), "access-control-max-age; -1 = do not keep.")
    allow_credentials: bool = field(Flag(), "Send access-control-allow-credentials: true.")


@message
class DomainNameList:
    """Names of hosts."""

    domains: tuple[str, ...] = field(ListOf(Text(DOMAIN), least=1, most=32, unique=True), "1 to 32 domains.", required=True)


@message
class CsrfPolicy:
    """Requests that change state must come from our own pages or from the ones listed."""

    all_load_balancer_domains: bool = field(
        Presence(), "From any domain of this virtual host.", since="+2022-12", group="allowed_domains")
    custom_domain_list: DomainNameList | None = field(
        Nested(DomainNameList), "From these domains.", since="+2022-12", group="allowed_domains")
    disabled: bool = field(Presence(), "From anywhere.", since="+2022-12", group="allowed_domains")


@message
class AppFirewallRef:
    """An app_firewall by reference."""

    SINCE: ClassVar = "+2021-08"

    app_firewall: tuple[Ref, ...] = field(refs("app_firewall", most=1, least=1), "One app_firewall.", required=True)


@message
class WafRef:
    """A waf by reference."""

    SINCE: ClassVar = "2020→2021-12"

    waf: tuple[Ref, ...] = field(refs("waf", most=1, least=1), "One waf.", required=True)


@message
class WafRulesRef:
    """A waf_rules by reference."""

    SINCE: ClassVar = "2020→2021-12"

    waf_rules: tuple[Ref, ...] = field(refs("waf_rules", most=1, least=1), "One waf_rules.", required=True)


@message
class WafType:
    """Which web application firewall looks at the requests."""

    app_firewall: AppFirewallRef | None = field(
        Nested(AppFirewallRef), "This app_firewall.", since="+2021-08", group="ref_type", state=REFUSES)
    disable_waf: bool = field(Presence(), "None.", since="+2021-08", group="ref_type")
    inherit_waf: bool = field(Presence(), "The virtual host's.", since="+2021-08", group="ref_type")
    waf: WafRef | None = field(Nested(WafRef), "This waf.", since="2020→2021-12", group="ref_type", state=REFUSES)
    waf_rules: WafRulesRef | None = field(
        Nested(WafRulesRef), "This waf_rules.", since="2020→2021-12", group="ref_type", state=REFUSES)
