"""The table of the fields of what relays TCP and UDP: docs/layer4-fields.csv says by which tests they are shown, declarations say the
rest. docs/layer4-fields.rst shows it. It is made as `tests.docs.http_fields`' is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.docs import http_fields
from tests.docs.http_fields import Row
from voltgw.config.kinds import KINDS
from voltgw.config.schema import Decl, Plan, plan_inside

FILE: Final = http_fields.FILE.with_name("layer4-fields.csv")
#: Kinds of which every field has a row,
WHOLE: Final = ("tcp_loadbalancer", "udp_loadbalancer", "advertise_policy", "endpoint")
#: and fields of others that relays and their listeners ask.
OTHERS: Final = {
    "virtual_host": ("proxy", "idle_timeout", "voltgw.per_packet_load_balancing", "voltgw.quic_connection_ids"),
    "cluster": ("circuit_breaker", "connection_timeout", "disable_proxy_protocol", "proxy_protocol_v1", "proxy_protocol_v2",
                "upstream_conn_pool_reuse_type", "voltgw.tcp", "voltgw.pre_open", "voltgw.proxy_protocol"),
}
#: Whose parts have rows of their own.
_PARTS: Final = ("voltgw", "voltgw.tcp", "voltgw.proxy_protocol")


def declared() -> dict[str, Decl]:
    """The fields by their full names."""
    found: dict[str, Decl] = {}
    for kind in (*WHOLE, *OTHERS):
        plan = KINDS[kind].plan()
        assert plan is not None             # all of them have fields
        wanted = OTHERS.get(kind)
        for path, decl in _declared(plan, ""):
            if wanted is None or path in wanted or path.rpartition(".")[0] in wanted:
                found[f"{kind}.{path}"] = decl
    return found


def _declared(plan: Plan, before: str) -> Iterator[tuple[str, Decl]]:
    for decl in plan.decls:
        path = before + decl.name
        inner = plan_inside(decl.type)
        if path not in _PARTS or inner is None:
            yield path, decl
        else:
            yield from _declared(inner, f"{path}.")


def rows() -> list[Row]:
    """All of it."""
    return http_fields.joined(declared(), http_fields.written(FILE))


def render() -> str:
    """The table, as reStructuredText."""
    return http_fields.table(rows())
