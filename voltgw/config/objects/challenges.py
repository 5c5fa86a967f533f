"""Pages that browsers and users must get past (objects.md 4.6)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import refs
from voltgw.config.contents import Content
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Flag, Presence
from voltgw.config.values import Ref


@message
class JavascriptChallengeType:
    """A page whose script the browser must run first."""

    js_script_delay_s: float | None = field(Duration("ms", 1000, 60000), "How long the page makes it wait.", absent="5 s")
    cookie_expiry_s: float | None = field(Duration("s", 1, 86400), "Then it is challenged again.", absent="1 h")
    custom_page: bytes | None = field(Content(65536), "The page.")
    enable_js_challenge: bool = field(Flag(), "The switch of 2020; presence is enough now.", since="2020→2021-02")


@message
class CaptchaChallengeType:
    """A page that only a person can pass."""

    cookie_expiry_s: float | None = field(Duration("s", 1, 86400), "Then it is challenged again.", absent="1 h")
    custom_page: bytes | None = field(Content(65536), "The page.")
    enable_captcha_challenge: bool = field(Flag(), "The switch of 2020; presence is enough now.", since="2020→2021-02")


@message
class TemporaryUserBlockingType:
    """What a blocked user sees."""

    custom_page: bytes | None = field(Content(65536), "The page.")


@message
class PolicyBasedChallenge:
    """Challenges that are chosen per request."""

    SINCE: ClassVar = "†"

    no_challenge: bool = field(Presence(), "None unless a rule says so.", group="challenge_choice")
    always_enable_js_challenge: bool = field(
        Presence(), "Browsers are challenged unless a rule says otherwise.", group="challenge_choice")
    always_enable_captcha_challenge: bool = field(
        Presence(), "Users are challenged unless a rule says otherwise.", group="challenge_choice")
    js_challenge: JavascriptChallengeType | None = field(Nested(JavascriptChallengeType), "The challenge for browsers.")
    captcha_challenge: CaptchaChallengeType | None = field(Nested(CaptchaChallengeType), "The challenge for users.")
    malicious_user_mitigation: tuple[Ref, ...] = field(
        refs("malicious_user_mitigation"), "What is done about users who attack.")
    temporary_user_blocking: TemporaryUserBlockingType | None = field(
        Nested(TemporaryUserBlockingType), "What a blocked user sees.")
