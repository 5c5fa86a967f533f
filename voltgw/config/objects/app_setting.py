"""app_setting: what is learnt about the applications of a namespace (objects.md 16.2)."""

from __future__ import annotations

from enum import Enum

from voltgw.config.compound import Anything, ListOf, refs
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Number, Presence, Text
from voltgw.config.values import Ref

METRICS = ("NO_METRICS", "REQUEST_RATE", "ERROR_RATE", "LATENCY", "THROUGHPUT")


class MetricsSource(Enum):
    """Whose metrics are watched."""

    NONE = "NONE"
    NODES = "NODES"
    EDGES = "EDGES"
    VIRTUAL_HOSTS = "VIRTUAL_HOSTS"


@message
class AppBusinessLogicMarkup:
    """From which traffic an API's operations are learnt."""

    enable: bool = field(Presence(), "From redirects too.", group="learn_from_redirect_traffic")
    disable: bool = field(Presence(), "Not from redirects.", group="learn_from_redirect_traffic")


@message
class MetricSelector:
    """Metrics that are watched."""

    metrics_source: MetricsSource = field(Choice(MetricsSource), "Whose.")
    metric: tuple[str, ...] = field(ListOf(Text(one_of=METRICS)), "Which.")


@message
class TimeseriesAnalysesSetting:
    """Which metrics are watched for what is unusual."""

    metric_selectors: tuple[MetricSelector, ...] = field(ListOf(Nested(MetricSelector)), "These.")


@message
class FailedLoginActivity:
    """Logins that fail (answered 401)."""

    login_failures_threshold: int | None = field(Number(), "So many count.")


@message
class ForbiddenActivity:
    """Requests that are refused."""

    forbidden_requests_threshold: int | None = field(Number(), "So many count.")


@message
class MaliciousUserDetection:
    """What makes a user a threat."""

    cooling_off_period_s: float | None = field(Duration("m", 5, 120), "After this without an offence the level falls.")
    include_failed_login_activity: FailedLoginActivity | None = field(
        Nested(FailedLoginActivity), "Failed logins.", group="failed_login_activity_choice")
    exclude_failed_login_activity: bool = field(Presence(), "Not those.", group="failed_login_activity_choice")
    include_forbidden_activity: ForbiddenActivity | None = field(
        Nested(ForbiddenActivity), "Refused requests.", group="forbidden_activity_choice")
    exclude_forbidden_activity: bool = field(Presence(), "Not those.", group="forbidden_activity_choice")
    include_waf_activity: bool = field(Presence(), "Attacks.", group="waf_activity_choice")
    exclude_waf_activity: bool = field(Presence(), "Not those.", group="waf_activity_choice")
    include_ip_reputation: bool = field(Presence(), "The address's reputation.", group="ip_reputation_choice")
    exclude_ip_reputation: bool = field(Presence(), "Not that.", group="ip_reputation_choice")
    include_non_existent_url_activity: bool = field(
        Presence(), "URLs that do not exist.", group="non_existent_url_activity_choice")
    exclude_non_existent_url_activity: bool = field(Presence(), "Not those.", group="non_existent_url_activity_choice")
    include_rate_limit: bool = field(Presence(), "Too many requests.", group="rate_limit_choice")
    exclude_rate_limit: bool = field(Presence(), "Not those.", group="rate_limit_choice")
    include_bot_defense_activity: bool = field(Presence(), "Bots.", group="bot_defense_activity_choice")
    exclude_bot_defense_activity: bool = field(Presence(), "Not those.", group="bot_defense_activity_choice")
    include_bola: bool = field(Presence(), "Objects of other users.", group="bola_choice")
    exclude_bola: bool = field(Presence(), "Not those.", group="bola_choice")
    include_non_existent_url_activity_automatic: object = field(
        Anything(), "URLs that do not exist, by what is usual.", since="", group="non_existent_url_activity_choice")
    include_non_existent_url_activity_custom: object = field(
        Anything(), "URLs that do not exist, by a threshold.", since="", group="non_existent_url_activity_choice")
    bola_detection_automatic: bool = field(Presence(), "Objects of other users (newer).", since="", group="bola_choice")
    exclude_bola_detection: bool = field(Presence(), "Not those (newer).", since="", group="bola_choice")
    bola_detection_manual: object = field(
        Anything(), "Objects of other users, by threshold.", since="", group="bola_choice")


@message
class UserBehaviorAnalysisSetting:
    """Whether users are watched."""

    enable_learning: bool = field(Presence(), "What is usual is learnt.", group="learning_choice")
    disable_learning: bool = field(Presence(), "It is not.", group="learning_choice")
    enable_detection: MaliciousUserDetection | None = field(
        Nested(MaliciousUserDetection), "Threats are recognised.", group="malicious_user_detection")
    disable_detection: bool = field(Presence(), "They are not.", group="malicious_user_detection")


@message
class AppTypeSettings:
    """What is learnt about one application."""

    app_type_ref: tuple[Ref, ...] = field(refs("app_type"), "The application.")
    business_logic_markup_setting: AppBusinessLogicMarkup | None = field(
        Nested(AppBusinessLogicMarkup), "From which traffic its operations are learnt.")
    timeseries_analyses_setting: TimeseriesAnalysesSetting | None = field(
        Nested(TimeseriesAnalysesSetting), "Which metrics are watched.")
    user_behavior_analysis_setting: UserBehaviorAnalysisSetting | None = field(
        Nested(UserBehaviorAnalysisSetting), "Whether users are watched.")


@message
class AppSettingSpec:
    """What is learnt about the applications of a namespace."""

    app_type_settings: tuple[AppTypeSettings, ...] = field(
        ListOf(Nested(AppTypeSettings), least=1, most=16), "One entry per application.")
