"""Conditions of service policy rules on the parts of a request (objects.md 13.3)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf, refs
from voltgw.config.formats import HEADER_NAME, JA3, JA4
from voltgw.config.objects.forward_proxy_policy import URLType
from voltgw.config.reader import REFUSES
from voltgw.config.regexes import REGEX
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Flag, Presence, Text
from voltgw.config.values import Ref

#: What may be done to a value before it is compared, in the order of the wire's numbers.
TRANSFORMERS = ("TRANSFORMER_NONE", "LOWER_CASE", "UPPER_CASE", "BASE64_DECODE", "NORMALIZE_PATH", "REMOVE_WHITESPACE",
                "URL_DECODE", "TRIM_LEFT", "TRIM_RIGHT", "TRIM")
FINGERPRINT_CLASSES = (
    "TLS_FINGERPRINT_NONE", "ANY_MALICIOUS_FINGERPRINT", "ADWARE", "ADWIND", "DRIDEX", "GOOTKIT", "GOZI", "JBIFROST",
    "QUAKBOT", "RANSOMWARE", "TROLDESH", "TOFSEE", "TORRENTLOCKER", "TRICKBOT")
METHODS = ("ANY", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "COPY")


def _texts() -> ListOf[str]:
    return ListOf(Text())


def _patterns() -> ListOf[str]:
    return ListOf(Text(REGEX, least=1))


def _transformers() -> ListOf[str]:
    return ListOf(Text(one_of=TRANSFORMERS))


def fingerprint_classes() -> ListOf[str]:
    """A list of classes of TLS fingerprints."""
    return ListOf(Text(one_of=FINGERPRINT_CLASSES))


def fingerprints() -> ListOf[str]:
    """A list of JA3 fingerprints."""
    return ListOf(Text(JA3, least=1))


@message
class MatcherTypeBasic:
    """A condition on a text."""

    exact_values: tuple[str, ...] = field(_texts(), "One of these texts.")
    regex_values: tuple[str, ...] = field(_patterns(), "Or one of these patterns (RE2) over the whole text.")


@message
class MatcherType:
    """A condition on a text that may be transformed first."""

    exact_values: tuple[str, ...] = field(_texts(), "One of these texts.")
    regex_values: tuple[str, ...] = field(_patterns(), "Or one of these patterns (RE2) over the whole text.")
    transformers: tuple[str, ...] = field(_transformers(), "What is done to the text first, in order.")


@message
class PolicyPathMatcherType:
    """A condition on the path; any of its parts is enough."""

    exact_values: tuple[str, ...] = field(_texts(), "One of these paths.")
    prefix_values: tuple[str, ...] = field(_texts(), "A path that begins like one of these.")
    suffix_values: tuple[str, ...] = field(_texts(), "A path that ends like one of these.")
    regex_values: tuple[str, ...] = field(_patterns(), "One of these patterns (RE2) over the whole path.")
    transformers: tuple[str, ...] = field(_transformers(), "What is done to the path first, in order.")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class PolicyHeaderMatcherType:
    """A condition on a header; of several values one is enough."""

    name: str | None = field(Text(HEADER_NAME), "Header name.")
    item: MatcherType | None = field(Nested(MatcherType), "Condition on its value.", group="match")
    check_present: bool = field(Presence(), "It is there.", group="match")
    check_not_present: bool = field(Presence(), "It is not there.", group="match")
    presence: bool = field(Flag(), "It is there (older form).", group="match")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class PolicyQueryParameterMatcherType:
    """A condition on a query parameter."""

    key: str | None = field(Text(), "Name of the parameter.")
    item: MatcherType | None = field(Nested(MatcherType), "Condition on its value.", group="match")
    check_present: bool = field(Presence(), "It is there.", group="match")
    check_not_present: bool = field(Presence(), "It is not there.", group="match")
    presence: bool = field(Flag(), "It is there (older form).", group="match")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class ArgMatcherType:
    """A condition on an argument in the body, by JSON path."""

    name: str | None = field(Text(), "Path of the argument.")
    item: MatcherType | None = field(Nested(MatcherType), "Condition on its value.", group="match")
    check_present: bool = field(Presence(), "It is there.", group="match")
    check_not_present: bool = field(Presence(), "It is not there.", group="match")
    presence: bool = field(Flag(), "It is there (older form).", group="match")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class PolicyCookieMatcherType:
    """A condition on a cookie."""

    name: str | None = field(Text(), "Cookie name.")
    item: MatcherType | None = field(Nested(MatcherType), "Condition on its value.", group="match")
    check_present: bool = field(Presence(), "It is there.", group="match")
    check_not_present: bool = field(Presence(), "It is not there.", group="match")
    presence: bool = field(Flag(), "It is there (older form).", group="match")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class JWTClaimMatcherType:
    """A condition on a claim of the request's token."""

    SINCE: ClassVar = "+2024-03"

    name: str | None = field(Text(), "Name of the claim.")
    item: MatcherType | None = field(Nested(MatcherType), "Condition on its value.", group="match")
    check_present: bool = field(Presence(), "It is there.", group="match")
    check_not_present: bool = field(Presence(), "It is not there.", group="match")
    presence: bool = field(Flag(), "It is there (older form).", group="match")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class HttpMethodMatcherType:
    """A condition on the method."""

    methods: tuple[str, ...] = field(ListOf(Text(one_of=METHODS)), "One of these methods.")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class StringMatcherType:
    """A condition on a name."""

    match: tuple[str, ...] = field(_texts(), "One of these names.")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class RoleMatcherType:
    """A condition on the client's role."""

    match: str | None = field(Text(), "The role.", since="2020†")


@message
class TlsFingerprintMatcherType:
    """A condition on how the client's TLS says hello (JA3)."""

    classes: tuple[str, ...] = field(fingerprint_classes(), "What the fingerprint is known for.", state=REFUSES)
    exact_values: tuple[str, ...] = field(fingerprints(), "Or one of these fingerprints.")
    excluded_values: tuple[str, ...] = field(fingerprints(), "But none of these.")


@message
class JA4TlsFingerprintMatcherType:
    """A condition on how the client's TLS says hello (JA4)."""

    SINCE: ClassVar = "+2024-10"

    exact_values: tuple[str, ...] = field(ListOf(Text(JA4, least=1)), "One of these fingerprints.")


@message
class URLMatcherType:
    """A condition on the URL."""

    SINCE: ClassVar = "2020†"

    url_items: tuple[URLType, ...] = field(ListOf(Nested(URLType)), "One of these URLs.")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class WafRuleControl:
    """What the firewall of 2020 leaves out for a request."""

    exclude_rule_ids: tuple[Ref, ...] = field(refs("waf_rule_list"), "Core rules that do not look.")
    monitoring_mode: bool = field(Flag(), "It only logs.")
