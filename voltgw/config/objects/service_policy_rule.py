"""service_policy_rule: which requests, and what becomes of them (objects.md 13.3)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import Anything, ListOf, MapOf, refs
from voltgw.config.formats import TIMESTAMP
from voltgw.config.objects.constraints import RequestConstraintType
from voltgw.config.objects.endpoint import LabelSelectorType
from voltgw.config.objects.jwt import JwtValidation
from voltgw.config.objects.malicious_user_mitigation import MaliciousUserMitigationType
from voltgw.config.objects.matchers import (
    ArgMatcherType,
    HttpMethodMatcherType,
    JA4TlsFingerprintMatcherType,
    JWTClaimMatcherType,
    MatcherType,
    MatcherTypeBasic,
    PolicyCookieMatcherType,
    PolicyHeaderMatcherType,
    PolicyPathMatcherType,
    PolicyQueryParameterMatcherType,
    RoleMatcherType,
    StringMatcherType,
    TlsFingerprintMatcherType,
    URLMatcherType,
    WafRuleControl,
)
from voltgw.config.objects.parts import (
    AsnMatcherType,
    AsnMatchList,
    IpMatcherType,
    IPThreatCategoryListType,
    LabelMatcherType,
    PolicyPortMatcherType,
    PrefixMatchList,
)
from voltgw.config.reader import REFUSES
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Flag, Presence, Text
from voltgw.config.values import FrozenMap, Ref


class RuleAction(Enum):
    """What becomes of a request that matches."""

    DENY = "DENY"
    ALLOW = "ALLOW"
    NEXT_POLICY_SET = "NEXT_POLICY_SET"
    NEXT_POLICY = "NEXT_POLICY"
    LAST_POLICY = "LAST_POLICY"
    GOTO_POLICY = "GOTO_POLICY"


class ChallengeAction(Enum):
    """Whether the client is challenged first."""

    DEFAULT = "DEFAULT_CHALLENGE"
    JAVASCRIPT = "ENABLE_JAVASCRIPT_CHALLENGE"
    CAPTCHA = "ENABLE_CAPTCHA_CHALLENGE"
    DISABLE = "DISABLE_CHALLENGE"
    TEMPORARY_BLOCKING = "TEMPORARY_BLOCKING"


@message
class WafAction:
    """What the web application firewall does about a request that matches."""

    none: bool = field(Presence(), "What it does about all.", group="action_type", absent="this")
    waf_skip_processing: bool = field(Presence(), "It does not look.", group="action_type")
    waf_in_monitoring_mode: bool = field(Presence(), "It only logs.", group="action_type")
    app_firewall_detection_control: object = field(
        Anything(), "It leaves some of its signatures out.", group="action_type")
    data_guard_control: object = field(Anything(), "Whether it masks data in the response.", group="action_type")
    jwt_validation: JwtValidation | None = field(
        Nested(JwtValidation), "The request needs a token.", group="action_type", state=REFUSES)
    waf_rule_control: WafRuleControl | None = field(
        Nested(WafRuleControl), "It leaves core rules out (2020).", group="action_type")
    waf_inline_rule_control: object = field(
        Anything(), "It leaves core rules out, named here (2020).", group="action_type")


@message
class BotAction:
    """What bot defence does about a request that matches."""

    SINCE: ClassVar = "+2021-12"

    none: bool = field(Presence(), "What it does about all.", group="action_type", absent="this")
    bot_skip_processing: bool = field(Presence(), "It does not look.", group="action_type")


@message
class ModifyAction:
    """Whether a part of the security is left out."""

    SINCE: ClassVar = "+2022-07"

    default: bool = field(Presence(), "It is not.", group="action_type", absent="this")
    skip_processing: bool = field(Presence(), "It is.", group="action_type")


@message
class ServicePolicyRuleSpec:
    """Which requests, and what becomes of them; all its conditions must hold."""

    action: RuleAction = field(Choice(RuleAction, dict.fromkeys(
        (RuleAction.NEXT_POLICY_SET, RuleAction.LAST_POLICY, RuleAction.GOTO_POLICY), REFUSES)), "What becomes of them.",
        required=True)
    any_client: bool = field(Presence(), "From anybody.", group="client_choice")
    client_name: str | None = field(Text(most=256), "From the client of this name.", group="client_choice")
    ip_threat_category_list: IPThreatCategoryListType | None = field(
        Nested(IPThreatCategoryListType), "From addresses known for these things.", since="+2021-12", group="client_choice",
        state=REFUSES)
    client_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "From clients with such labels: ``geoip.ves.io/country``, ``/region``, ``/city`` and "
        "``/asn``, by `gateway.geo`.", group="client_choice", example="{expressions: ['geoip.ves.io/country in (FR, DE)']}")
    client_name_matcher: MatcherTypeBasic | None = field(
        Nested(MatcherTypeBasic), "From clients with such names.", group="client_choice")
    client_role: RoleMatcherType | None = field(Nested(RoleMatcherType), "From clients in this role.", since="2020†",
        state=REFUSES)
    server_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "To virtual hosts with such labels.", since="+2020-11†")
    label_matcher: LabelMatcherType | None = field(
        Nested(LabelMatcherType), "Labels that must be the same on both sides.", state=REFUSES)
    path: PolicyPathMatcherType | None = field(
        Nested(PolicyPathMatcherType), "Condition on the unescaped path without its query.")
    headers: tuple[PolicyHeaderMatcherType, ...] = field(
        ListOf(Nested(PolicyHeaderMatcherType), most=16), "Conditions on headers; all must hold.")
    query_params: tuple[PolicyQueryParameterMatcherType, ...] = field(
        ListOf(Nested(PolicyQueryParameterMatcherType), most=16), "Conditions on the query; all must hold.")
    http_method: HttpMethodMatcherType | None = field(Nested(HttpMethodMatcherType), "Condition on the method.")
    any_ip: bool = field(Presence(), "From any address.", group="ip_choice")
    ip_prefix_list: PrefixMatchList | None = field(Nested(PrefixMatchList), "From these addresses.", group="ip_choice")
    ip_matcher: IpMatcherType | None = field(Nested(IpMatcherType), "From addresses of these sets.", group="ip_choice")
    any_dst_ip: bool = field(Presence(), "To any address.", since="2020†", group="dst_ip_choice")
    dst_ip_prefix_list: PrefixMatchList | None = field(
        Nested(PrefixMatchList), "To these addresses.", since="2020†", group="dst_ip_choice", state=REFUSES)
    dst_ip_matcher: IpMatcherType | None = field(
        Nested(IpMatcherType), "To addresses of these sets.", since="2020†", group="dst_ip_choice", state=REFUSES)
    any_asn: bool = field(Presence(), "From any autonomous system.", group="asn_choice")
    asn_list: AsnMatchList | None = field(
        Nested(AsnMatchList), "From these autonomous systems, by `gateway.geo`.", group="asn_choice")
    asn_matcher: AsnMatcherType | None = field(
        Nested(AsnMatcherType), "From autonomous systems of these sets, by `gateway.geo`.", group="asn_choice")
    any_dst_asn: bool = field(Presence(), "To any autonomous system.", since="2020†", group="dst_asn_choice")
    dst_asn_list: AsnMatchList | None = field(
        Nested(AsnMatchList), "To these autonomous systems.", since="2020†", group="dst_asn_choice", state=REFUSES)
    dst_asn_matcher: AsnMatcherType | None = field(
        Nested(AsnMatcherType), "To autonomous systems of these sets.", since="2020†", group="dst_asn_choice", state=REFUSES)
    api_group_matcher: StringMatcherType | None = field(
        Nested(StringMatcherType), "Condition on the API group of the operation.", state=REFUSES)
    port_matcher: PolicyPortMatcherType | None = field(
        Nested(PolicyPortMatcherType), "Condition on the port; with CONNECT on the one that is asked for.")
    expiration_timestamp: str | None = field(Text(TIMESTAMP), "After this the rule is ignored.")
    body_matcher: MatcherType | None = field(Nested(MatcherType), "Condition on the body.", state=REFUSES)
    arg_matchers: tuple[ArgMatcherType, ...] = field(
        ListOf(Nested(ArgMatcherType), most=16), "Conditions on arguments in the body; all must hold.", state=REFUSES)
    cookie_matchers: tuple[PolicyCookieMatcherType, ...] = field(
        ListOf(Nested(PolicyCookieMatcherType), most=16), "Conditions on cookies; all must hold.")
    waf_action: WafAction | None = field(
        Nested(WafAction), "What the web application firewall does about them.", absent="what it does about all")
    domain_matcher: MatcherTypeBasic | None = field(Nested(MatcherTypeBasic), "Condition on Host.")
    rate_limiter: tuple[Ref, ...] = field(
        refs("rate_limiter", most=2), "How many of them a user may send; what is refused, or only logged, counts nothing.",
        since="2020†")
    virtual_host_matcher: MatcherTypeBasic | None = field(
        Nested(MatcherTypeBasic), "Condition on the virtual host's name.", since="2020†")
    ja4_tls_fingerprint: JA4TlsFingerprintMatcherType | None = field(
        Nested(JA4TlsFingerprintMatcherType), "Condition on the client's JA4 fingerprint.", since="+2024-10",
        group="tls_fingerprint_choice")
    tls_fingerprint_matcher: TlsFingerprintMatcherType | None = field(
        Nested(TlsFingerprintMatcherType), "Condition on the client's JA3 fingerprint.", group="tls_fingerprint_choice")
    scheme: tuple[str, ...] = field(
        ListOf(Text(one_of=("ANY", "HTTP", "HTTPS", "TCP", "TLS"))), "Spoken in one of these ways.", since="2020†")
    url_matcher: URLMatcherType | None = field(Nested(URLMatcherType), "Condition on the URL.", since="2020†", state=REFUSES)
    challenge_action: ChallengeAction = field(
        Choice(ChallengeAction, {each: REFUSES for each in ChallengeAction if each.value.startswith(("ENABLE", "TEMP"))}),
        "Whether the client is challenged first.", since="+2021-01†")
    goto_policy: tuple[Ref, ...] = field(
        refs("service_policy", most=1), "The policy that GOTO_POLICY goes on with.", since="+2021-02†", internal=True,
        state=REFUSES)
    content_rewrite_action: object = field(
        Anything(), "Made by the vendor's system.", since="+2021-08†", internal=True)
    shape_protected_endpoint_action: object = field(
        Anything(), "Made by the vendor's system.", since="+2021-08†", internal=True)
    bot_action: BotAction | None = field(
        Nested(BotAction), "What bot defence does about them.", since="+2021-12")
    mum_action: ModifyAction | None = field(
        Nested(ModifyAction), "Whether they count when users are watched.", since="+2022-07")
    ip_reputation_action: ModifyAction | None = field(
        Nested(ModifyAction), "Whether the address's reputation counts.", since="+2022-07†")
    request_constraints: RequestConstraintType | None = field(
        Nested(RequestConstraintType), "Limits of which they exceed one.", since="+2023-01")
    segment_policy: object = field(Anything(), "Between which segments.", since="+2024-06", state=REFUSES)
    origin_server_subsets_action: FrozenMap[str, str] = field(
        MapOf(Text(), Text()), "Labels that their endpoint must carry as well.", since="†", internal=True)
    jwt_claims: tuple[JWTClaimMatcherType, ...] = field(
        ListOf(Nested(JWTClaimMatcherType), most=16), "Conditions on claims of their token.", since="+2024-03")
    mobile_identifier_matcher_action: object = field(
        Anything(), "Made by the vendor's system.", since="†", internal=True)
    log_rule_evaluation: bool = field(Flag(), "Log them and go on.", since="+2026-03")
    malicious_user_mitigation: MaliciousUserMitigationType | None = field(
        Nested(MaliciousUserMitigationType), "What is done about users who attack.", since="2020→2021-04", state=REFUSES)
    malicious_user_mitigation_bypass: bool = field(Presence(), "Nothing is done about them.", since="2020→2021-12")
    l4_dest_matcher: object = field(Anything(), "Condition on address and port.", since="2020→2021-12", state=REFUSES)
