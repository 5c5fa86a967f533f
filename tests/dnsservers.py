"""Real DNS servers for the integration tests: BIND, Knot, PowerDNS and gdnsd, each on a port of 127.0.0.1 that was free a moment ago."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import dns.exception
import dns.message
import dns.query
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import free_port
from tests.servers import Server, require

#: A server answers after so long at most.
START_TIMEOUT_S = 20.0


def named(test: SynchronousTestCase, zones: Mapping[str, str], *, options: str = "", more: str = "", port: int = 0,
          validate: bool = False) -> Server:
    """BIND with zone files by name, stopped with the test; `options` go into its options, `more` behind them; with `validate`
    it checks signatures by the trust anchors that stand there.
    """
    program, folder, port = require("named"), _folder(test), port or free_port()
    declared = []
    for name, text in zones.items():
        (folder / f"{name}zone").write_text(text)
        declared.append(f'zone "{name}" {{ type primary; file "{name}zone"; }};')
    (folder / "named.conf").write_text(f"""\
options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
  session-keyfile none; dnssec-validation {"yes" if validate else "no"}; empty-zones-enable no; {options or "recursion no;"} }};
controls {{}};
{" ".join(declared)}
{more}
""")
    return _start(test, "named", [program, "-g", "-n", "1", "-c", str(folder / "named.conf")], folder, port)


def knot(test: SynchronousTestCase, zones: Mapping[str, str], *, more: str = "", port: int = 0) -> Server:
    """Knot DNS with zone files by name, stopped with the test; `more` goes before the zones."""
    program, folder, port = require("knotd"), _folder(test), port or free_port()
    for name, text in zones.items():
        (folder / f"{name}zone").write_text(text)
    declared = "\n".join(f"  - domain: {name}" for name in zones)
    (folder / "knot.conf").write_text(f"""\
server:
  rundir: "{_short(test)}"
  listen: 127.0.0.1@{port}
  tcp-io-timeout: 20000
database:
  storage: "{folder}"
{more}
template:
  - id: default
    storage: "{folder}"
    file: "%szone"
zone:
{declared}
""")
    return _start(test, "knotd", [program, "-c", str(folder / "knot.conf")], folder, port)


def secondary_named(test: SynchronousTestCase, zone: str, primary: int, key: str, secret: str, port: int) -> Server:
    """BIND that holds a copy of a zone of 127.0.0.1:`primary`, which it asks for with a key; it hears of changes."""
    more = f"""\
key "{key}" {{ algorithm hmac-sha256; secret "{secret}"; }};
server 127.0.0.1 {{ keys "{key}"; }};
zone "{zone}" {{ type secondary; primaries port {primary} {{ 127.0.0.1 key "{key}"; }}; file "copy"; masterfile-format text;
  allow-notify {{ key "{key}"; }}; }};"""
    return named(test, {}, more=more, port=port)


def secondary_knot(test: SynchronousTestCase, zone: str, primary: int, key: str, secret: str, port: int) -> Server:
    """Knot DNS that does the same."""
    program, folder = require("knotd"), _folder(test)
    (folder / "knot.conf").write_text(f"""\
server:
  rundir: "{_short(test)}"
  listen: 127.0.0.1@{port}
  tcp-io-timeout: 20000
database:
  storage: "{folder}"
key:
  - id: {key}
    algorithm: hmac-sha256
    secret: {secret}
remote:
  - id: primary
    address: 127.0.0.1@{primary}
    key: {key}
acl:
  - id: notify
    key: {key}
    action: notify
zone:
  - domain: {zone}
    storage: "{folder}"
    master: primary
    acl: notify
""")
    return _start(test, "knotd", [program, "-c", str(folder / "knot.conf")], folder, port)


def _folder(test: SynchronousTestCase) -> Path:
    folder = Path(os.path.abspath(test.mktemp()))
    folder.mkdir(parents=True)
    return folder


def _short(test: SynchronousTestCase) -> str:
    """A folder for sockets, whose paths have at most 107 characters; it goes with the test."""
    folder = tempfile.TemporaryDirectory(prefix="dns")
    test.addCleanup(folder.cleanup)
    return folder.name


def _start(test: SynchronousTestCase, name: str, command: list[str], folder: Path, port: int) -> Server:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    server = Server(name, port, process, log)
    test.addCleanup(server.stop)
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and server.running:
        try:
            dns.query.udp(dns.message.make_query("version.bind", "TXT", "CH"), "127.0.0.1", 0.3, port)
        except (dns.exception.Timeout, OSError):
            continue
        return server
    raise AssertionError(f"{name} does not answer: {server.log()[-2000:]}")


def updatable_named(test: SynchronousTestCase, zone: str, text: str, key: str, secret: str, *, rights: str = "zonesub ANY",
                    transfer: bool = True, port: int = 0, folder: Path | None = None, algorithm: str = "hmac-sha256") -> Server:
    """BIND that lets `key` update a zone as far as `rights` say, and transfer it; with the `folder` of one before it (its log's)
    it goes on where that one ended."""
    program, port = require("named"), port or free_port()
    if folder is None:
        folder = _folder(test)
        (folder / "zone").write_text(text)
    allowed = f'key "{key}"' if transfer else "none"
    (folder / "named.conf").write_text(f"""\
options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
  session-keyfile none; dnssec-validation no; empty-zones-enable no; recursion no; allow-transfer {{ {allowed}; }}; }};
controls {{}};
key "{key}" {{ algorithm {algorithm}; secret "{secret}"; }};
zone "{zone}" {{ type primary; file "zone"; update-policy {{ grant "{key}" {rights}; }}; }};
""")
    return _start(test, "named", [program, "-g", "-n", "1", "-c", str(folder / "named.conf")], folder, port)


def updatable_knot(test: SynchronousTestCase, zone: str, text: str, key: str, secret: str, *, transfer: bool = True,
                   port: int = 0, folder: Path | None = None, algorithm: str = "hmac-sha256") -> Server:
    """Knot DNS that does the same, and lets `key` write everything."""
    program, port = require("knotd"), port or free_port()
    if folder is None:
        folder = _folder(test)
        (folder / "zone").write_text(text)
    (folder / "knot.conf").write_text(f"""\
server:
  rundir: "{_short(test)}"
  listen: 127.0.0.1@{port}
  tcp-io-timeout: 20000
database:
  storage: "{folder}"
key:
  - id: {key}
    algorithm: {algorithm}
    secret: {secret}
acl:
  - id: gateway
    key: {key}
    action: [update{", transfer" if transfer else ""}]
zone:
  - domain: {zone}
    storage: "{folder}"
    file: zone
    acl: gateway
""")
    return _start(test, "knotd", [program, "-c", str(folder / "knot.conf")], folder, port)


def powerdns(test: SynchronousTestCase, zone: str, text: str) -> Server:
    """PowerDNS with one zone file that may have LUA records; nothing is cached, health is looked at once a second."""
    program, folder, port = require("pdns_server"), _folder(test), free_port()
    (folder / "zone").write_text(text)
    (folder / "named.conf").write_text(f'zone "{zone}" {{ type master; file "{folder}/zone"; }};\n')
    (folder / "pdns.conf").write_text(f"""\
launch=bind
bind-config={folder}/named.conf
local-address=127.0.0.1
local-port={port}
socket-dir={_short(test)}
enable-lua-records=yes
edns-subnet-processing=yes
lua-health-checks-interval=1
daemon=no
guardian=no
disable-syslog=yes
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
""")
    return _start(test, "pdns_server", [program, f"--config-dir={folder}"], folder, port)


def gdnsd(test: SynchronousTestCase, zone: str, text: str, config: str) -> Server:
    """gdnsd with one zone file; `config` has its service types and plugins. It answers once every service was probed."""
    program, folder, port = require("gdnsd"), _folder(test), free_port()
    (folder / "zones").mkdir()
    (folder / "zones" / zone).write_text(text)
    (folder / "config").write_text(
        f"options => {{ listen => 127.0.0.1, dns_port => {port}, run_dir => {_short(test)}, state_dir => {_short(test)}, "
        f"udp_threads => 1, tcp_threads => 1 }}\n{config}\n")
    return _start(test, "gdnsd", [program, "-c", str(folder), "start"], folder, port)
