"""app_type: virtual hosts that make one application, and what is learnt about it (objects.md 16.1)."""

from __future__ import annotations

from enum import Enum

from voltgw.config.compound import ListOf
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Presence


class FeatureType(Enum):
    """Something that can be learnt."""

    BUSINESS_LOGIC_MARKUP = "BUSINESS_LOGIC_MARKUP"
    TIMESERIES_ANOMALY_DETECTION = "TIMESERIES_ANOMALY_DETECTION"
    PER_REQ_ANOMALY_DETECTION = "PER_REQ_ANOMALY_DETECTION"
    USER_BEHAVIOR_ANALYSIS = "USER_BEHAVIOR_ANALYSIS"


@message
class AppTypeFeature:
    """One thing that is learnt."""

    type: FeatureType = field(Choice(FeatureType), "What.")


@message
class DiscoveredAPISettings:
    """What becomes of an API's operations that nobody calls any more."""

    purge_duration_for_inactive_discovered_apis_s: float | None = field(Duration("d", 1, 7), "They are forgotten after this.")


@message
class BusinessLogicMarkupSetting:
    """From which traffic an API's operations are learnt."""

    enable: bool = field(Presence(), "From redirects too.", group="learn_from_redirect_traffic")
    disable: bool = field(Presence(), "Not from redirects.", group="learn_from_redirect_traffic")
    discovered_api_settings: DiscoveredAPISettings | None = field(
        Nested(DiscoveredAPISettings), "What becomes of operations that nobody calls any more.")


@message
class AppTypeSpec:
    """An application: the virtual hosts whose label ves.io/app_type names it."""

    features: tuple[AppTypeFeature, ...] = field(ListOf(Nested(AppTypeFeature)), "What is learnt about it.")
    business_logic_markup_setting: BusinessLogicMarkupSetting | None = field(
        Nested(BusinessLogicMarkupSetting), "From which traffic its operations are learnt.")
