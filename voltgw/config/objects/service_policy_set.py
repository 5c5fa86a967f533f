"""service_policy_set: the service policies of a namespace, in order (objects.md 13.4)."""

from __future__ import annotations

from enum import Enum

from voltgw.config.compound import refs
from voltgw.config.objects.service_policy_rule import RuleAction
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Number, Text
from voltgw.config.values import Ref


class PolicySetScope(Enum):
    """What a set is about."""

    NAMESPACE = "POLICY_SET_SCOPE_NAMESPACE"
    VIRTUAL_HOST = "POLICY_SET_SCOPE_VIRTUAL_HOST"


@message
class DenyInfo:
    """The answer to a request that is refused."""

    response_code: int | None = field(Number(100, 599, also=(0,), zero_is_absent=True), "Status.", since="†", absent="403")
    error_message: str | None = field(Text(), "Body.", since="†")


@message
class ServicePolicySetSpec:
    """The service policies of a namespace, in order; a request that none of them allows is refused."""

    policies: tuple[Ref, ...] = field(refs("service_policy", most=16), "The policies.")
    type: str | None = field(
        Text(), "What they are for; only ``NETWORK_SECURITY`` refuses.", since="†", internal=True, absent="NETWORK_SECURITY")
    scope: PolicySetScope = field(Choice(PolicySetScope), "What they are about.", since="†", state=WARNS, internal=True)
    default_action: RuleAction = field(
        Choice(RuleAction), "What becomes of the rest; it is refused.", since="†", state=WARNS, internal=True)
    deny_info: DenyInfo | None = field(
        Nested(DenyInfo), "The answer to a request that is refused.", since="†", state=WARNS, internal=True)
