"""Answers of a zone with ten thousand names, beside Knot, BIND and dnsmasq: CPU microseconds for each query.

The client is dnsperf, with an EDNS cookie, names spread over the whole zone, and their letters in random case (0x20), so that
nobody can answer from a cache of raw messages. One query in ten is for a name that is not there. Limits of responses are off.
"""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any, Final

from compare import Column, Comparison, arguments, main, request_rounds, servers
from gateway import Voltgw, VoltgwCompiled, entity
from harness import LOAD_CPU, BenchmarkError, free_ports, run
from proxies import Proxy, first_line

_ZONE: Final = "apps.example"
_NAMES: Final = 10_000
#: Queries before they repeat.
_QUERIES: Final = 100_000
#: Ten thousand virtual hosts are made at the start.
_START_S: Final = 90.0
COLUMNS: Final = (Column("cpu_us", "CPU us/query", 2), Column("system_pct", "of it system %", 0), Column("rps", "queries/s", 0))


class _Names(Proxy):
    """A server of the zone."""

    start_s = _START_S

    def prove(self) -> None:
        """Raises unless it answers every query of a short load, and knows the names that are not there."""
        perf(self.port, questions(self.setup.directory), 0.3, self.setup.directory)

    def zone_file(self) -> Path:
        """In the form of RFC 1035, section 5."""
        file = self.directory / "zone"
        file.write_text(f"$ORIGIN {_ZONE}.\n$TTL 30\n@ SOA ns1 hostmaster 1 3600 600 604800 30\n@ NS ns1\nns1 A 127.0.0.1\n"
                        + "".join(f"h{number} A 127.0.0.1\n" for number in range(_NAMES)), encoding="utf-8")
        return file


class _Delegated(_Names, Voltgw):
    """Ours: a virtual host for each name."""

    def write_config(self) -> str:
        """voltgw.yaml, in JSON."""
        own = {"zone": _ZONE, "name_servers": [{"name": f"ns1.{_ZONE}", "addresses": ["127.0.0.1"]}]}
        objects: list[dict[str, Any]] = [
            {"kind": "discovery", "metadata": {"name": "names", "namespace": "system"},
             "spec": {"where": {}, "voltgw": {"dns_delegation": own}}},
            entity("advertise_policy", "p", {"address": "127.0.0.1", "port": free_ports(1)[0]}),
            entity("route", "r", {"routes": [{"route_direct_response": {"response_code": 200}}]}),
            *(entity("virtual_host", f"h{number}", {
                "domains": [f"h{number}.{_ZONE}"], "advertise_policies": [{"name": "p"}], "routes": [{"name": "r"}]})
              for number in range(_NAMES))]
        text = json.dumps({"gateway": {"admin": {"port": self.admin_port}, "dns": [
            {"address": "127.0.0.1", "port": self.port, "responses_per_second": 0}]}, "objects": objects}, indent=1)
        (self.directory / "voltgw.yaml").write_text(text, encoding="utf-8")
        return text


class _DelegatedCompiled(_Delegated, VoltgwCompiled):
    """The same in the compiled build."""


class _Knot(_Names):
    """Knot with one worker of each kind; without its module for cookies, which would ask every client to come again."""

    name = "knot"
    note = "has one worker of each kind, and no module for cookies, which would ask every client to come again"

    def write_config(self) -> str:
        """knot.conf."""
        text = f"""\
server:
  rundir: "{self.directory}"
  listen: 127.0.0.1@{self.port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{self.directory}"
template:
  - id: default
    storage: "{self.directory}"
zone:
  - domain: {_ZONE}
    file: "{self.zone_file()}"
"""
        (self.directory / "knot.conf").write_text(text, encoding="utf-8")
        return text

    def command(self) -> list[str]:
        """In the foreground."""
        return ["/usr/sbin/knotd", "-c", str(self.directory / "knot.conf")]

    def version(self) -> str:
        """As `knotd --version` says."""
        return first_line(["/usr/sbin/knotd", "--version"]).rpartition(" ")[2]


class _Bind(_Names):
    """BIND with one thread; it has cookies by default."""

    name = "bind"

    def write_config(self) -> str:
        """named.conf."""
        text = f"""\
options {{ directory "{self.directory}"; listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  pid-file none; session-keyfile none; recursion no; minimal-responses yes; dnssec-validation no; }};
controls {{}};
zone "{_ZONE}" {{ type primary; file "{self.zone_file()}"; }};
"""
        (self.directory / "named.conf").write_text(text, encoding="utf-8")
        return text

    def command(self) -> list[str]:
        """In the foreground."""
        return ["/usr/sbin/named", "-g", "-n", "1", "-c", str(self.directory / "named.conf")]

    def version(self) -> str:
        """As `named -v` says."""
        return first_line(["/usr/sbin/named", "-v"]).split(" ")[1]


class _Dnsmasq(_Names):
    """dnsmasq; its configuration is its command line and a file of names."""

    name = "dnsmasq"
    note = "has no cookies: it answers without one"

    def write_config(self) -> str:
        """The file of names."""
        (self.directory / "hosts").write_text(
            "".join(f"127.0.0.1 h{number}.{_ZONE}\n" for number in range(_NAMES)), encoding="utf-8")
        return " ".join(self.command())

    def command(self) -> list[str]:
        """In the foreground."""
        return ["/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--port={self.port}",
                "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts",
                f"--addn-hosts={self.directory}/hosts", f"--local=/{_ZONE}/", "--local-ttl=30", "--pid-file=",
                f"--user={os.environ.get('USER', 'root')}"]

    def version(self) -> str:
        """As `dnsmasq --version` says."""
        return first_line(["/usr/sbin/dnsmasq", "--version"]).split(" ")[2]


KINDS: Final = {kind.name: kind for kind in (_DelegatedCompiled, _Delegated, _Knot, _Bind, _Dnsmasq)}


def questions(folder: Path) -> Path:
    """dnsperf's file; the same for everybody."""
    file = folder / "questions"
    if file.exists():
        return file
    draw = random.Random(1)

    def cased(name: str) -> str:
        return "".join(draw.choice((letter.lower(), letter.upper())) for letter in name)

    file.write_text("".join(
        f"{cased(f'h{draw.randrange(_NAMES)}' if draw.random() < 0.9 else f'no{draw.randrange(1 << 30)}')}.{cased(_ZONE)} A\n"
        for _ in range(_QUERIES)), encoding="utf-8")
    return file


def perf(port: int, file: Path, seconds: float, folder: Path) -> dict[str, float]:
    """Queries that were answered in that time. Raises BenchmarkError when one in two hundred was not."""
    output = run(["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(file), "-l", str(seconds), "-c", "8", "-q", "64",
                  "-e", "-E", "10:0123456789abcdef"], cpu=LOAD_CPU, timeout_s=seconds + 60, log=folder / "dnsperf.log")
    found = re.search(r"Queries completed:\s+(\d+) \(([\d.]+)%\)", output)
    took = re.search(r"Run time \(s\):\s+([\d.]+)", output)
    codes = re.search(r"Response codes:\s+(.*)", output)
    if found is None or took is None or codes is None or float(found[2]) < 99.5 or "NXDOMAIN" not in codes[1]:
        raise BenchmarkError(f"dnsperf: {output[-800:]}")
    return {"requests": int(found[1]), "seconds": float(took[1])}


def body() -> None:
    """The command."""
    options = arguments(__doc__ or "", proxies="voltgw,knot,bind,dnsmasq").parse_args()
    comparison = Comparison(
        name="dns", mode="dns",
        title=f"DNS, a zone of {_NAMES:,} names, cookies, letters in random case, one name in ten missing",
        unit="query", main="cpu_us", columns=COLUMNS, references=("knot", "bind", "dnsmasq"))
    with servers(comparison, options, KINDS) as running:
        file = questions(running.directory)

        def load(proxy: Proxy, seconds: float) -> dict[str, float]:
            return perf(proxy.port, file, seconds, running.directory)

        request_rounds(running, load, options.seconds, options.warm_up, logged=False)


if __name__ == "__main__":
    main(body)
