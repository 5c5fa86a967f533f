"""Tables of fields in docs: a file says by which test each field is shown, declarations say the rest."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from voltgw.config.kinds import KINDS
from voltgw.config.reader import State
from voltgw.config.schema import Decl, Plan, plan_inside

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
WORKS: Final = "works"
NOTHING: Final = "not applicable"
#: What declarations call states, in the words of the page.
_WORDS: Final = {State.ACTS: WORKS, State.WARNS: "warned", State.REFUSES: "refused", State.UNSUPPORTED: "refused"}
#: Where it is shown that a field in such a state is warned of, or refused.
_SHOWN: Final = {
    State.WARNS: "config.test_states.StateTests.test_a_warning_where_ignoring_harms_nobody",
    State.REFUSES: "config.test_states.StateTests.test_an_error_where_ignoring_would_admit_someone",
    State.UNSUPPORTED: "config.test_states.StateTests.test_a_kind_of_proxy_that_is_not_served_yet",
}


class Row(NamedTuple):
    """One field: what becomes of it, the test that shows it ("" = there is nothing to show), and what else is to be said."""

    field: str
    state: str
    test: str
    remark: str


class FieldTable:
    """The table of `file` in docs/ for the fields below `roots`, full names of fields or kinds.

    `below` says of a message whether its fields have rows of their own; they go at most `depth` names deep.
    """

    def __init__(self, file: str, roots: tuple[str, ...], below: Callable[[type], bool], depth: int = 6) -> None:
        self.file = DOCS / file
        self.roots = roots
        self._below = below
        self._depth = depth

    def declared(self) -> dict[str, Decl]:
        """The fields by their full names, in the order of declarations."""
        found: dict[str, Decl] = {}
        for root in self.roots:
            kind, *path = root.split(".")
            plan = KINDS[kind].plan()
            for name in path:
                assert plan is not None
                (decl,) = [each for each in plan.decls if each.name == name]
                plan = plan_inside(decl.type)
            assert plan is not None             # all of them have fields
            found.update(self._declared(plan, root))
        return found

    def _declared(self, plan: Plan, path: str) -> Iterator[tuple[str, Decl]]:
        for decl in plan.decls:
            name = f"{path}.{decl.name}"
            yield name, decl
            inner = plan_inside(decl.type)
            if inner is not None and self._below(inner.cls) and decl.state is State.ACTS and name.count(".") < self._depth - 1:
                yield from self._declared(inner, name)

    def written(self) -> dict[str, tuple[str, str]]:
        """What the file says of each field: its test and its remark. Raises ValueError for a field that stands in it twice."""
        with self.file.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        found = {line["field"]: (line["test"], line["remark"] or "") for line in lines}
        if len(found) != len(lines):
            raise ValueError(f"a field stands twice in {self.file.name}")
        return found

    def rows(self) -> list[Row]:
        """All of it."""
        said = self.written()
        made: list[Row] = []
        for name, decl in self.declared().items():
            test, remark = said.get(name, ("", ""))
            if decl.state is not State.ACTS:
                test = _SHOWN[decl.state]
            state = WORKS if test else NOTHING
            made.append(
                Row(name, _WORDS[decl.state] if decl.state is not State.ACTS else state, f"tests.{test}" if test else "", remark))
        return made

    def render(self) -> str:
        """The table, as reStructuredText."""
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 35 12 53", "", "   * - Field", "     - State", "     - Shown by"]
        for row in self.rows():
            shown = f"``{row.test}``" if row.test else ""
            lines += [f"   * - ``{row.field}``", f"     - {row.state}",
                      f"     - {'; '.join(part for part in (shown, row.remark) if part)}"]
        return "\n".join(lines) + "\n"


#: docs/health-check-fields.csv.
HEALTH: Final = FieldTable("health-check-fields.csv", ("healthcheck",), lambda cls: ".healthcheck" in cls.__module__)
#: docs/tls-fields.csv: TLS towards clients (advertise policies have the same message as virtual hosts), and towards endpoints.
TLS: Final = FieldTable(
    "tls-fields.csv", ("virtual_host.tls_parameters", "virtual_host.tls_cert_params", "cluster.tls_parameters"),
    lambda cls: cls.__module__.endswith(".tls"))


#: docs/forward-fields.csv: forward proxies.
FORWARD: Final = FieldTable(
    "forward-fields.csv", ("network_connector", "network_firewall", "forward_proxy_policy", "virtual_host.dynamic_reverse_proxy"),
    lambda cls: cls.__module__.rpartition(".")[2] in ("network_connector", "network_firewall", "forward_proxy_policy"))


#: docs/cluster-fields.csv; TLS has its own table.
CLUSTER: Final = FieldTable("cluster-fields.csv", ("cluster",), lambda cls: ".objects.cluster" in cls.__module__)


#: docs/publish-fields.csv: registries of others in which names are published.
PUBLISH: Final = FieldTable(
    "publish-fields.csv", tuple(f"discovery.voltgw.{name}" for name in ("publish", "dns_update", "route53", "google_dns", "azure_dns", "registrar")),
    lambda cls: cls.__module__.endswith(".publishing") or cls.__name__ == "Tsig")


#: docs/rollout-fields.csv: canaries that ramp themselves.
ROLLOUT: Final = FieldTable("rollout-fields.csv", ("rollout",), lambda cls: cls.__module__.endswith(".rollout"))


#: docs/names-fields.csv: where services are found and names are told; registries in which names are published have their own table.
NAMES: Final = FieldTable(
    "names-fields.csv", ("discovery", "endpoint.service_info", "site", "virtual_site", "virtual_network"),
    lambda cls: cls.__name__ in ("DiscoveryExtension", "ConsulExtension")
    or not cls.__module__.endswith((".publishing", ".where")) and cls.__name__ != "Tsig")


def names() -> str:
    """For docs/names-fields.rst."""
    return NAMES.render()


def rollout() -> str:
    """For docs/howto/rollout.rst."""
    return ROLLOUT.render()


def publish() -> str:
    """For docs/howto/publish-dns.rst."""
    return PUBLISH.render()


def cluster() -> str:
    """For docs/clusters.rst."""
    return CLUSTER.render()


def forward() -> str:
    """For docs/forward-fields.rst."""
    return FORWARD.render()


def health() -> str:
    """For docs/health-checks.rst."""
    return HEALTH.render()


def tls() -> str:
    """For docs/tls-fields.rst."""
    return TLS.render()
