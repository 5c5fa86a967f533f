"""rate_limiter: how many requests a user may send (objects.md 14.1)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import Anything, ListOf, refs
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Flag, Number, Presence
from voltgw.config.values import Ref
from voltgw.values.defaults import MAX_RATE_LIMIT_USERS


class RateLimitPeriodUnit(Enum):
    """The unit of a period."""

    SECOND = "SECOND"
    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"


@message
class BlockSeconds:
    """Some seconds."""

    SINCE: ClassVar = "+2025-06"

    duration_s: float | None = field(Duration("s", 0, 300), "How long.")


@message
class BlockMinutes:
    """Some minutes."""

    SINCE: ClassVar = "+2025-06"

    duration_s: float | None = field(Duration("m", 0, 60), "How long.")


@message
class BlockHours:
    """Some hours."""

    SINCE: ClassVar = "+2025-06"

    duration_s: float | None = field(Duration("h", 0, 48), "How long.")


@message
class RateLimitBlockAction:
    """For how long a user who sends too much is refused altogether."""

    SINCE: ClassVar = "+2025-06"

    seconds: BlockSeconds | None = field(Nested(BlockSeconds), "In seconds.", group="block_duration_choice")
    minutes: BlockMinutes | None = field(Nested(BlockMinutes), "In minutes.", group="block_duration_choice")
    hours: BlockHours | None = field(Nested(BlockHours), "In hours.", group="block_duration_choice")


@message
class RateLimitValue:
    """So many requests in a period."""

    unit: RateLimitPeriodUnit = field(Choice(RateLimitPeriodUnit), "Unit of the period.", required=True)
    total_number: int = field(Number(1, 8192), "Requests per period.", required=True)
    burst_multiplier: int | None = field(
        Number(1, 100, also=(0,), zero_is_absent=True), "Times the rate: requests at once.", since="+2021-06", absent="1")
    period_multiplier: int | None = field(
        Number(0, zero_is_absent=True), "Times the unit: the period.", since="+2025-06", absent="1")
    disabled: bool = field(
        Presence(), "Only the excess is refused.", since="+2025-06", group="action_choice", absent="this")
    action_block: RateLimitBlockAction | None = field(
        Nested(RateLimitBlockAction), "The user is refused for a while.", since="+2025-06", group="action_choice")
    leaky_bucket: object = field(
        Anything(), "The bucket refills evenly.", since="+2025-11", group="algorithm", absent="this")
    token_bucket: object = field(
        Anything(), "The bucket refills at the end of each period, all of it at once.", since="+2025-11", group="algorithm")


class LimitFields(Enum):
    """When answers tell clients of their limit."""

    ON_REFUSAL = "ON_REFUSAL"
    ALWAYS = "ALWAYS"
    NEVER = "NEVER"


@message
class LimiterExtension:
    """What voltgw adds to a limit."""

    SINCE: ClassVar = "voltgw"

    report_only: bool = field(
        Flag(), "Count, log and explain what would have been refused, and refuse nothing.")
    fields: LimitFields = field(
        Choice(LimitFields), "When answers carry RateLimit and RateLimit-Policy; Retry-After stands in every refusal.")
    x_fields: bool = field(Flag(), "Say the same by X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset.")
    most_users: int | None = field(
        Number(1, 10_000_000), "Users that are remembered; about 200 bytes each. Beyond it, whoever owes least of some is "
        "forgotten.", absent=str(MAX_RATE_LIMIT_USERS))


@message
class RateLimiterSpec:
    """How many requests a user may send."""

    limits: tuple[RateLimitValue, ...] = field(
        ListOf(Nested(RateLimitValue), least=1, most=1), "One limit.", required=True)
    user_identification: tuple[Ref, ...] = field(
        refs("user_identification", most=1), "What tells users apart.", absent="the virtual host's, else the address")
    voltgw: LimiterExtension | None = field(Nested(LimiterExtension), "What voltgw adds to this limit.", since="voltgw")
