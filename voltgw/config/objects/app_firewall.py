"""app_firewall: a web application firewall (objects.md 15.3)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import Anything, ListOf
from voltgw.config.contents import Content
from voltgw.config.formats import HEADER_NAME
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Number, Presence, Text

ATTACK_TYPES = tuple(f"ATTACK_TYPE_{name}" for name in (
    "NONE", "NON_BROWSER_CLIENT", "OTHER_APPLICATION_ATTACKS", "TROJAN_BACKDOOR_SPYWARE", "DETECTION_EVASION",
    "VULNERABILITY_SCAN", "ABUSE_OF_FUNCTIONALITY", "AUTHENTICATION_AUTHORIZATION_ATTACKS", "BUFFER_OVERFLOW",
    "PREDICTABLE_RESOURCE_LOCATION", "INFORMATION_LEAKAGE", "DIRECTORY_INDEXING", "PATH_TRAVERSAL", "XPATH_INJECTION",
    "LDAP_INJECTION", "SERVER_SIDE_CODE_INJECTION", "COMMAND_EXECUTION", "SQL_INJECTION", "CROSS_SITE_SCRIPTING",
    "DENIAL_OF_SERVICE", "HTTP_PARSER_ATTACK", "SESSION_HIJACKING", "HTTP_RESPONSE_SPLITTING", "FORCEFUL_BROWSING",
    "REMOTE_FILE_INCLUDE", "MALICIOUS_FILE_UPLOAD", "GRAPHQL_PARSER_ATTACK"))


class RiskBasedBlockingAction(Enum):
    """What becomes of a request of some risk."""

    BLOCK = "AI_BLOCK"
    REPORT = "AI_REPORT"


class BotDefenseAction(Enum):
    """What becomes of a bot's request."""

    BLOCK = "BLOCK"
    REPORT = "REPORT"
    IGNORE = "IGNORE"


@message
class AttackTypeSettings:
    """Which attacks are looked for."""

    SINCE: ClassVar = "+2021-08"

    disabled_attack_types: tuple[str, ...] = field(ListOf(Text(one_of=ATTACK_TYPES)), "These are not.")


@message
class SignatureSelectionSetting:
    """Which signatures look."""

    SINCE: ClassVar = "+2021-08"

    default_attack_type_settings: bool = field(Presence(), "For every attack.", group="attack_type_setting")
    attack_type_settings: AttackTypeSettings | None = field(
        Nested(AttackTypeSettings), "Not for every attack.", group="attack_type_setting")
    only_high_accuracy_signatures: bool = field(
        Presence(), "The most accurate ones.", group="signature_selection_by_accuracy")
    high_medium_accuracy_signatures: bool = field(
        Presence(), "Less accurate ones too.", group="signature_selection_by_accuracy")
    high_medium_low_accuracy_signatures: bool = field(Presence(), "All.", group="signature_selection_by_accuracy")


@message
class ViolationSettings:
    """Which violations of HTTP are looked for."""

    SINCE: ClassVar = "+2021-08"

    disabled_violation_types: tuple[str, ...] = field(ListOf(Text(least=1)), "These are not.")


@message
class SignaturesStagingSettings:
    """New signatures only log for a while."""

    SINCE: ClassVar = "+2021-08"

    staging_period_s: float | None = field(Duration("d", 1, 20), "How long.")


@message
class BotProtectionSetting:
    """What becomes of bots' requests."""

    SINCE: ClassVar = "+2021-08"

    malicious_bot_action: BotDefenseAction = field(Choice(BotDefenseAction), "Of those that attack.")
    suspicious_bot_action: BotDefenseAction = field(Choice(BotDefenseAction), "Of those that might.")
    good_bot_action: BotDefenseAction = field(Choice(BotDefenseAction), "Of those that are known and wanted.")


@message
class DetectionSetting:
    """What is looked for."""

    SINCE: ClassVar = "+2021-08"

    signature_selection_setting: SignatureSelectionSetting | None = field(
        Nested(SignatureSelectionSetting), "Which signatures look.")
    enable_suppression: bool = field(Presence(), "False alarms are recognised.", group="false_positive_suppression")
    disable_suppression: bool = field(Presence(), "They are not.", group="false_positive_suppression")
    enable_threat_campaigns: bool = field(Presence(), "Known campaigns are recognised.", group="threat_campaign_choice")
    disable_threat_campaigns: bool = field(Presence(), "They are not.", group="threat_campaign_choice")
    default_violation_settings: bool = field(
        Presence(), "Every violation of HTTP counts.", group="violation_detection_setting")
    violation_settings: ViolationSettings | None = field(
        Nested(ViolationSettings), "Not every violation counts.", group="violation_detection_setting")
    disable_staging: bool = field(Presence(), "New signatures act at once.", group="signatures_staging_settings")
    stage_new_signatures: SignaturesStagingSettings | None = field(
        Nested(SignaturesStagingSettings), "New signatures only log for a while.", group="signatures_staging_settings")
    stage_new_and_updated_signatures: SignaturesStagingSettings | None = field(
        Nested(SignaturesStagingSettings), "New and changed ones do.", group="signatures_staging_settings")
    default_bot_setting: bool = field(Presence(), "The usual about bots.", group="bot_protection_choice")
    bot_protection_setting: BotProtectionSetting | None = field(
        Nested(BotProtectionSetting), "What becomes of bots' requests.", group="bot_protection_choice")


@message
class AiRiskBasedBlocking:
    """What becomes of a request by its risk."""

    SINCE: ClassVar = "+2024-12†"

    high_risk_action: RiskBasedBlockingAction = field(Choice(RiskBasedBlockingAction), "High.")
    medium_risk_action: RiskBasedBlockingAction = field(Choice(RiskBasedBlockingAction), "Medium.")
    low_risk_action: RiskBasedBlockingAction = field(Choice(RiskBasedBlockingAction), "Low.")


@message
class AllowedResponseCodes:
    """Statuses that an origin may answer."""

    SINCE: ClassVar = "+2021-12"

    response_code: tuple[int, ...] = field(ListOf(Number(100, 599)), "The statuses.")


@message
class AnonymizeHttpHeader:
    """A header that logs do not show."""

    SINCE: ClassVar = "+2021-12"

    header_name: str | None = field(Text(HEADER_NAME), "Its name.")


@message
class AnonymizeHttpQueryParameter:
    """A query parameter that logs do not show."""

    SINCE: ClassVar = "+2021-12"

    query_param_name: str | None = field(Text(), "Its name.")


@message
class AnonymizeHttpCookie:
    """A cookie that logs do not show."""

    SINCE: ClassVar = "+2021-12"

    cookie_name: str | None = field(Text(), "Its name.")


@message
class AnonymizationConfiguration:
    """One thing that logs do not show."""

    SINCE: ClassVar = "+2021-12"

    http_header: AnonymizeHttpHeader | None = field(
        Nested(AnonymizeHttpHeader), "A header.", group="anonymization_choice")
    query_parameter: AnonymizeHttpQueryParameter | None = field(
        Nested(AnonymizeHttpQueryParameter), "A query parameter.", group="anonymization_choice")
    cookie: AnonymizeHttpCookie | None = field(Nested(AnonymizeHttpCookie), "A cookie.", group="anonymization_choice")


@message
class AnonymizationSetting:
    """What logs do not show."""

    SINCE: ClassVar = "+2021-12"

    anonymization_config: tuple[AnonymizationConfiguration, ...] = field(
        ListOf(Nested(AnonymizationConfiguration)), "These things.")


@message
class CustomBlockingPage:
    """The answer to a request that is refused."""

    SINCE: ClassVar = "+2021-12"

    blocking_page: bytes | None = field(
        Content(65536), "The page; ``{{request_id}}`` in it is replaced.")
    response_code: str | None = field(Text(), "Status by its name.", absent="OK", example="Forbidden")


@message
class AppFirewallSpec:
    """A web application firewall."""

    SINCE: ClassVar = "+2021-12"

    use_loadbalancer_setting: bool = field(
        Presence(), "The load balancer says whether it refuses.", since="+2021-08†", group="enforcement_mode_choice")
    blocking: bool = field(Presence(), "It refuses.", since="+2021-08", group="enforcement_mode_choice")
    monitoring: bool = field(
        Presence(), "It logs.", since="+2021-08", group="enforcement_mode_choice", absent="this")
    default_detection_settings: bool = field(
        Presence(), "It looks for the usual.", since="+2021-08", group="detection_setting_choice")
    detection_settings: DetectionSetting | None = field(
        Nested(DetectionSetting), "What it looks for.", since="+2021-08", group="detection_setting_choice")
    ai_risk_based_blocking: AiRiskBasedBlocking | None = field(
        Nested(AiRiskBasedBlocking), "It goes by risk.", since="+2024-12†", group="detection_setting_choice")
    default_bot_setting: bool = field(
        Presence(), "The usual about bots.", since="+2021-08", group="bot_protection_choice")
    bot_protection_setting: BotProtectionSetting | None = field(
        Nested(BotProtectionSetting), "What becomes of bots' requests.", since="+2021-08", group="bot_protection_choice")
    allow_all_response_codes: bool = field(
        Presence(), "Origins may answer any status.", group="allowed_response_codes_choice")
    allowed_response_codes: AllowedResponseCodes | None = field(
        Nested(AllowedResponseCodes), "Origins may answer these statuses.", group="allowed_response_codes_choice")
    disable_anonymization: bool = field(Presence(), "Logs show everything.", group="anonymization_setting")
    default_anonymization: bool = field(Presence(), "Logs hide the usual.", group="anonymization_setting")
    custom_anonymization: AnonymizationSetting | None = field(
        Nested(AnonymizationSetting), "What logs do not show.", group="anonymization_setting")
    use_default_blocking_page: bool = field(Presence(), "The usual page.", group="blocking_page_choice")
    blocking_page: CustomBlockingPage | None = field(
        Nested(CustomBlockingPage), "The answer to a request that is refused.", group="blocking_page_choice")
    disable_ai_enhancements: bool = field(
        Presence(), "No learning.", since="+2026-03", group="enhance_with_ai_choice")
    enable_ai_enhancements: object = field(
        Anything(), "Learning.", since="+2026-03", group="enhance_with_ai_choice")
