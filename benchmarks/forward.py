"""What a forward proxy costs: CPU microseconds per CONNECT (with the TLS handshake that passes through), per request with a
whole URL, and per request inside TLS that is opened (``--kind``), beside Squid with the same policy table.

The origin (nginx) and the clients share the load's CPU. Names: ``localhost`` alone. Both proxies judge by server name and URL
with 40 names that do not match before the one that lets through; Squid peeks for the server name as we do.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from compare import Column, Comparison, arguments, main, request_rounds, servers
from gateway import Voltgw, VoltgwCompiled, environment_of
from harness import LOAD_CPU, Proc, free_ports, work_directory
from load import client
from origin import NGINX, SMALL
from proxies import Proxy, first_line

SQUID: Final = os.environ.get("SQUID", "/usr/sbin/squid")
CERTGEN: Final = os.environ.get("SECURITY_FILE_CERTGEN", "/usr/lib/squid/security_file_certgen")
NAMES: Final = tuple(f"blocked-{number}.example" for number in range(40))
KINDS: Final = {"connect": "CONNECT with handshake and one request", "plain": "request with a whole URL",
                "inspected": "request inside opened TLS"}
COLUMNS: Final = (Column("cpu_us", "CPU us"), Column("system_pct", "of it system %", 0), Column("rps", "done/s", 0))
#: Run by the Python under test, which has our own package: makes a CA, the origin's certificate, and the CA that inspects.
_MAKE: Final = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from voltgw.config.issuing import Usage, issue, new_authority
folder, now = Path(sys.argv[1]), datetime.now(UTC)
ca, signer = new_authority("bench origins", now), new_authority("bench inspection", now)
leaf = issue(ca, "localhost", ["localhost"], Usage.SERVER, now)
for name, one in (("ca", ca), ("signer", signer), ("leaf", leaf)):
    (folder / f"{name}.pem").write_bytes(one.certificate)
    (folder / f"{name}.key").write_bytes(one.key)
(folder / "signer-both.pem").write_bytes(signer.certificate + signer.key)
"""


def origin(directory: Path, plain: int, secure: int) -> Proc:
    """nginx in plain text and with TLS."""
    user = "user root;" if os.geteuid() == 0 else ""
    (directory / "origin.conf").write_text(
        f"daemon off; worker_processes 1; pid {directory}/origin.pid; error_log {directory}/origin.log warn; {user}\n"
        "events { worker_connections 4096; }\nhttp { access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s;\n"
        + "".join(f"  {kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f"  server {{ listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{secure} ssl backlog=4096;\n"
        f"    ssl_certificate {directory}/leaf.pem; ssl_certificate_key {directory}/leaf.key;\n"
        f'    location / {{ return 200 "{SMALL.strip()}"; }} }}\n}}\n')
    process = Proc("origin", [NGINX, "-e", "stderr", "-p", str(directory), "-c", str(directory / "origin.conf")], LOAD_CPU,
                   directory / "origin-stderr.log")
    process.wait_for_port(secure)
    return process


class _Judge(Proxy):
    """A forward proxy; `Setup.endpoints` are those of the origin, in plain text and with TLS."""

    @property
    def opened(self) -> bool:
        """Whether it opens the TLS of clients."""
        return self.setup.mode == "inspected"

    @property
    def secure(self) -> int:
        """The origin's port with TLS."""
        return self.setup.endpoints[1][1]

    def prove(self) -> None:
        """Raises unless a client is served."""
        load(self, 0.3, 1)


class _Forward(_Judge, Voltgw):
    """Ours."""

    def write_config(self) -> str:
        """voltgw.yaml, in JSON."""
        shared, secure, opened = self.setup.directory, self.secure, self.opened
        policies: list[dict[str, Any]] = [
            {"kind": "forward_proxy_policy", "metadata": {"name": f"p{start}", "namespace": "system"}, "spec": {"deny_list": {
                "tls_list": [{"exact_value": name} for name in NAMES[start:start + 16]],
                "http_list": [{"exact_value": name, "any_path": {}} for name in NAMES[start:start + 16]],
                "default_action_next_policy": {}}}}
            for start in range(0, len(NAMES), 16)]
        policies.append({"kind": "forward_proxy_policy", "metadata": {"name": "rest", "namespace": "system"},
                         "spec": {"allow_all": {}}})
        proxy: dict[str, Any] = {"no_interception": {}}
        if opened:
            proxy = {"tls_intercept": {
                "enable_for_all_domains": {}, "custom_certificate": {
                    "certificate_url": f"file:{shared}/signer.pem",
                    "private_key": {"clear_secret_info": {"url": f"file:{shared}/signer.key"}}},
                "trusted_ca_url": f"file:{shared}/ca.pem"}}
        config = {
            "gateway": {"site": "bench", "admin": {"port": self.admin_port}, "access_log": str(self.access_log)},
            "objects": [
                {"kind": "site", "metadata": {"name": "bench", "namespace": "system", "labels": {"ves.io/fleet": "f"}},
                 "spec": {"site_type": "CUSTOMER_EDGE"}},
                {"kind": "fleet", "metadata": {"name": "f", "namespace": "system"}, "spec": {
                    "fleet_label": "f", "network_connectors": ["out"], "network_firewall": ["egress"]}},
                {"kind": "network_connector", "metadata": {"name": "out", "namespace": "system"}, "spec": {
                    "sli_to_slo_snat": {"interface_ip": {}}, "enable_forward_proxy": proxy, "voltgw": {
                        "explicit_proxy": {"address": "127.0.0.1", "port": self.port}, "capture": "none",
                        "connect_ports": f"443,{secure}", "allowed_prefixes": ["127.0.0.0/8", "::1/128"]}}},
                {"kind": "network_firewall", "metadata": {"name": "egress", "namespace": "system"}, "spec": {
                    "active_forward_proxy_policies": {"forward_proxy_policies": [
                        policy["metadata"]["name"] for policy in policies]}}},
                *policies]}
        text = json.dumps(config, indent=1)
        (self.directory / "voltgw.yaml").write_text(text)
        return text


class _ForwardCompiled(_Forward, VoltgwCompiled):
    """The same in the compiled build."""


class _Squid(_Judge):
    """Squid with the same table. It becomes another user where it is started by root, so its files are everybody's."""

    name = "squid"

    def command(self) -> list[str]:
        """In the foreground."""
        return [SQUID, "-N", "-f", str(self.directory / "squid.conf")]

    def version(self) -> str:
        """As `squid -v` says."""
        return first_line([SQUID, "-v"]).rpartition(" ")[2]

    def write_config(self) -> str:
        """squid.conf."""
        shared, secure, own, opened = self.setup.directory, self.secure, self.directory, self.opened
        shared.chmod(0o755)
        for path in shared.iterdir():
            if path.is_file():
                path.chmod(0o644)
        own.chmod(0o777)
        names = " ".join(NAMES)
        bump = ""
        if opened:
            subprocess.run([CERTGEN, "-c", "-s", str(own / "certificates"), "-M", "4MB"], check=True, capture_output=True)
            for path in (own / "certificates", *(own / "certificates").rglob("*")):
                path.chmod(0o777)
            bump = f" ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert={shared}/signer-both.pem"
        rules = [
            f"http_port 127.0.0.1:{self.port}{bump}", "pid_filename none", "cache deny all", "shutdown_lifetime 0 seconds",
            f"cache_log stdio:{own}/cache.log", f"access_log daemon:{own}/access.log squid", f"coredump_dir {own}",
            "visible_hostname bench", "workers 1", f"acl blocked dstdomain {names}", "acl tunnel method CONNECT",
            f"acl tunnels port 443 {secure}", "http_access deny tunnel !tunnels", "http_access deny blocked",
            "http_access allow localhost", "http_access deny all", "server_persistent_connections on",
            "client_persistent_connections on"]
        if opened:
            rules += [
                f"sslcrtd_program {CERTGEN} -s {own}/certificates -M 4MB", "sslcrtd_children 1 startup=1",
                f"tls_outgoing_options cafile={shared}/ca.pem", "acl first at_step SslBump1", "ssl_bump peek first",
                "ssl_bump bump all"]
        text = "\n".join([*rules, ""])
        (own / "squid.conf").write_text(text)
        return text


SERVERS: Final = {kind.name: kind for kind in (_ForwardCompiled, _Forward, _Squid)}


def load(proxy: Proxy, seconds: float, clients: int) -> dict[str, float]:
    """What was done in that time."""
    setup = proxy.setup
    (_, plain), (_, secure) = setup.endpoints
    ca = {"connect": "ca.pem", "inspected": "signer.pem"}.get(setup.mode)
    result = client("forward_client.py", [
        setup.mode, str(proxy.port), str(plain if setup.mode == "plain" else secure), str(seconds), str(clients),
        str(setup.directory / ca) if ca else "-"], seconds, setup.directory, setup.nice)
    return {"requests": result["done"], "seconds": result["seconds"]}


def body() -> None:
    """The command."""
    parser = arguments(__doc__ or "", proxies="voltgw,squid", connections=8)
    parser.add_argument("--kind", choices=tuple(KINDS), default="connect", help="what clients do")
    options = parser.parse_args()
    comparison = Comparison(
        name=f"forward_{options.kind}", mode=options.kind, unit="request", main="cpu_us", references=("squid",),
        title=f"forward proxy, {KINDS[options.kind]}, {options.connections} clients", columns=COLUMNS)
    with work_directory(options.keep) as directory:
        # Squid reads these files as another user.
        subprocess.run([options.python, "-c", _MAKE, str(directory)], check=True, env=environment_of(checkout=True))
        plain, secure = free_ports(2)
        origin(directory, plain, secure)
        with servers(comparison, options, SERVERS, directory=directory,
                     endpoints=(("127.0.0.1", plain), ("127.0.0.1", secure))) as running:
            request_rounds(running, lambda proxy, seconds: load(proxy, seconds, options.connections), options.seconds,
                           options.warm_up, logged=False)


if __name__ == "__main__":
    main(body)
