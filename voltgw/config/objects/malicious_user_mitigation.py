"""malicious_user_mitigation: what is done about users who attack (objects.md 14.3)."""

from __future__ import annotations

from voltgw.config.compound import ListOf
from voltgw.config.objects.challenges import CaptchaChallengeType, JavascriptChallengeType, TemporaryUserBlockingType
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Presence


@message
class MaliciousUserThreatLevel:
    """How much of a threat a user is."""

    low: bool = field(Presence(), "A little.", group="threat_level")
    medium: bool = field(Presence(), "Some.", group="threat_level")
    high: bool = field(Presence(), "A lot.", group="threat_level")


@message
class MaliciousUserMitigationAction:
    """What is done about it."""

    none: bool = field(Presence(), "Nothing.", group="mitigation_action")
    alert_only: bool = field(Presence(), "Somebody is told.", group="mitigation_action")
    javascript_challenge: bool = field(Presence(), "The browser is challenged.", group="mitigation_action")
    captcha_challenge: bool = field(Presence(), "The user is challenged.", group="mitigation_action")
    block_temporarily: bool = field(Presence(), "The user is refused for a while.", group="mitigation_action")


@message
class MaliciousUserMitigationRule:
    """What is done about users of one level."""

    threat_level: MaliciousUserThreatLevel | None = field(Nested(MaliciousUserThreatLevel), "The level.")
    mitigation_action: MaliciousUserMitigationAction | None = field(
        Nested(MaliciousUserMitigationAction), "What is done.")


@message
class MaliciousUserMitigationType:
    """What is done about users of each level."""

    rules_: tuple[MaliciousUserMitigationRule, ...] = field(ListOf(Nested(MaliciousUserMitigationRule)), "One per level.")


@message
class MaliciousUserMitigationSpec:
    """What is done about users who attack."""

    mitigation_type: MaliciousUserMitigationType | None = field(
        Nested(MaliciousUserMitigationType), "What is done about users of each level.")
    javascript_challenge_settings: JavascriptChallengeType | None = field(
        Nested(JavascriptChallengeType), "The challenge for browsers (2020).")
    captcha_challenge_settings: CaptchaChallengeType | None = field(
        Nested(CaptchaChallengeType), "The challenge for users (2020).")
    temporary_blocking_settings: TemporaryUserBlockingType | None = field(
        Nested(TemporaryUserBlockingType), "What a blocked user sees (2020).")
