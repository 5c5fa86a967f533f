"""waf, waf_rules and waf_rule_list: web application firewalls of 2020 and 2021 (objects.md 15.1, 15.2)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import ListOf
from voltgw.config.formats import WAF_RULE
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Number, Text

_SINCE = "2020→2021-12"
CMS = ("DRUPAL", "WORDPRESS", "NEXTCLOUD", "DOKUWIKI", "CPANEL")
DETECTION_TAGS = ("DATA_LEAKAGE", "SQLI_ATTACK", "XSS_ATTACK", "PROTOCOL_ATTACK", "RCE_ATTACK", "PHP_ATTACK", "DOS_ATTACK",
                  "RFI_ATTACK", "LFI_ATTACK", "SCANNER", "SESSION_FIXATION", "KNOWN_SCRIPTS", "CRAWLERS")


class WafModeType(Enum):
    """What becomes of a request that looks like an attack."""

    BLOCK = "BLOCK"
    ALERT_ONLY = "ALERT_ONLY"


class RuleListType(Enum):
    """Whether a list of rules is of those that look or of those that do not."""

    EXCLUDE = "EXCLUDE"
    INCLUDE = "INCLUDE"


def _rule_names() -> ListOf[str]:
    return ListOf(Text(WAF_RULE, least=1))


@message
class AppProfile:
    """Products for which rules are turned on."""

    SINCE: ClassVar = _SINCE

    cms: tuple[str, ...] = field(ListOf(Text(one_of=CMS)), "Content management systems.")
    language: tuple[str, ...] = field(ListOf(Text(one_of=("PHP", "JAVA"))), "Languages.")
    webserver: tuple[str, ...] = field(ListOf(Text(one_of=("IIS",))), "Web servers.")


@message
class DetectionTags:
    """Classes of attacks."""

    SINCE: ClassVar = _SINCE

    detection_tag_type: tuple[str, ...] = field(ListOf(Text(one_of=DETECTION_TAGS)), "The classes.")


@message
class WafSpec:
    """A web application firewall (2020)."""

    SINCE: ClassVar = _SINCE

    mode: WafModeType = field(Choice(WafModeType), "What becomes of a request that looks like an attack.")
    app_profile: AppProfile | None = field(Nested(AppProfile), "Products for which rules are turned on.")
    disabled_detection_tags: DetectionTags | None = field(
        Nested(DetectionTags), "Attacks that are not looked for.")


@message
class WafRulesSpec:
    """A web application firewall by the numbers of OWASP's core rules (2020)."""

    SINCE: ClassVar = _SINCE

    mode: WafModeType = field(
        Choice(WafModeType), "What becomes of a request that looks like an attack.", required=True)
    anomaly_score_threshold: int = field(Number(), "A request with this score looks like an attack.", required=True)
    paranoia_level: int = field(Number(), "How suspicious the rules are.", required=True)
    rule_list_type: RuleListType = field(
        Choice(RuleListType), "Whether the rules listed are those that look or those that do not.", required=True)
    rule_ids: tuple[str, ...] = field(_rule_names(), "The rules.", example="[WAF_RULE_942100]")


@message
class WafRuleListSpec:
    """Core rules under one name (2020)."""

    SINCE: ClassVar = _SINCE

    rule_ids: tuple[str, ...] = field(_rule_names(), "The rules.", example="[WAF_RULE_942100]")
