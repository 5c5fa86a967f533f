"""What a forward proxy costs: CPU microseconds per CONNECT (with the TLS handshake that passes through), per request with a
whole URL, and per request inside TLS that is opened, beside Squid with the same policy table.

The origin (nginx) and the clients share the load's CPU. Names: ``localhost`` alone. Both proxies judge by server name and URL
with 40 names that do not match before the one that lets through; Squid peeks for the server name as we do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from harness import (
    HERE,
    LOAD_CPU,
    PROXY_CPU,
    ROOT,
    SETTLE_S,
    BenchmarkError,
    Cpu,
    Proc,
    free_ports,
    guard,
    run,
    tail,
    work_directory,
)
from origin import NGINX, SMALL

SQUID: Final = os.environ.get("SQUID", "/usr/sbin/squid")
CERTGEN: Final = os.environ.get("SECURITY_FILE_CERTGEN", "/usr/lib/squid/security_file_certgen")
NAMES: Final = tuple(f"blocked-{number}.example" for number in range(40))
KINDS: Final = {"connect": "CONNECT with handshake and one request", "plain": "request with a whole URL",
                "inspected": "request inside opened TLS"}
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


def voltgw(directory: Path, python: str, port: int, secure: int, opened: bool) -> Proc:
    """Ours."""
    policies = [
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
                "certificate_url": f"file:{directory}/signer.pem",
                "private_key": {"clear_secret_info": {"url": f"file:{directory}/signer.key"}}},
            "trusted_ca_url": f"file:{directory}/ca.pem"}}
    config = {
        "gateway": {"site": "bench", "admin": {"port": free_ports(1)[0]}, "access_log": str(directory / "voltgw.log")},
        "objects": [
            {"kind": "site", "metadata": {"name": "bench", "namespace": "system", "labels": {"ves.io/fleet": "f"}},
             "spec": {"site_type": "CUSTOMER_EDGE"}},
            {"kind": "fleet", "metadata": {"name": "f", "namespace": "system"}, "spec": {
                "fleet_label": "f", "network_connectors": ["out"], "network_firewall": ["egress"]}},
            {"kind": "network_connector", "metadata": {"name": "out", "namespace": "system"}, "spec": {
                "sli_to_slo_snat": {"interface_ip": {}}, "enable_forward_proxy": proxy, "voltgw": {
                    "explicit_proxy": {"address": "127.0.0.1", "port": port}, "capture": "none",
                    "connect_ports": f"443,{secure}", "allowed_prefixes": ["127.0.0.0/8", "::1/128"]}}},
            {"kind": "network_firewall", "metadata": {"name": "egress", "namespace": "system"}, "spec": {
                "active_forward_proxy_policies": {"forward_proxy_policies": [
                    policy["metadata"]["name"] for policy in policies]}}},
            *policies]}
    file = directory / f"voltgw-{port}.json"
    file.write_text(json.dumps(config))
    twistd = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
    process = Proc("voltgw", [python, "-c", twistd, "-n", "--pidfile=", "voltgw", "--config", str(file)], PROXY_CPU,
                   directory / f"voltgw-{port}.err", environment={**os.environ, "PYTHONPATH": str(ROOT)}, directory=directory)
    process.wait_for_port(port)
    return process


def squid(directory: Path, port: int, secure: int, opened: bool) -> Proc:
    """Squid with the same table. It becomes another user where it is started by root, so its files are everybody's."""
    directory.chmod(0o755)
    for path in directory.iterdir():
        if path.is_file():
            path.chmod(0o644)
    names = " ".join(NAMES)
    own = directory / f"squid-{port}"
    own.mkdir(mode=0o777)
    own.chmod(0o777)
    bump = ""
    if opened:
        subprocess.run([CERTGEN, "-c", "-s", str(own / "certificates"), "-M", "4MB"], check=True, capture_output=True)
        for path in (own / "certificates", *(own / "certificates").rglob("*")):
            path.chmod(0o777)
        bump = f" ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert={directory}/signer-both.pem"
    rules = [
        f"http_port 127.0.0.1:{port}{bump}", "pid_filename none", "cache deny all", "shutdown_lifetime 0 seconds",
        f"cache_log stdio:{own}/cache.log", f"access_log daemon:{own}/access.log squid", f"coredump_dir {own}",
        "visible_hostname bench", "workers 1", f"acl blocked dstdomain {names}", "acl tunnel method CONNECT",
        f"acl tunnels port 443 {secure}", "http_access deny tunnel !tunnels", "http_access deny blocked",
        "http_access allow localhost", "http_access deny all", "server_persistent_connections on",
        "client_persistent_connections on"]
    if opened:
        rules += [
            f"sslcrtd_program {CERTGEN} -s {own}/certificates -M 4MB", "sslcrtd_children 1 startup=1",
            f"tls_outgoing_options cafile={directory}/ca.pem", "acl first at_step SslBump1", "ssl_bump peek first",
            "ssl_bump bump all"]
    (own / "squid.conf").write_text("\n".join([*rules, ""]))
    process = Proc("squid", [SQUID, "-N", "-f", str(own / "squid.conf")], PROXY_CPU, directory / f"squid-{port}.err")
    process.wait_for_port(port)
    return process


def measured(process: Proc, kind: str, port: int, secure: int, plain: int, options: argparse.Namespace, directory: Path,
             ca: str) -> float:
    """CPU microseconds of the proxy for one of that kind."""
    target = plain if kind == "plain" else secure

    def load(seconds: float) -> int:
        output = run([sys.executable, str(HERE / "forward_client.py"), kind, str(port), str(target), str(seconds),
                      str(options.connections), ca if kind != "plain" else "-"], cpu=LOAD_CPU, timeout_s=seconds + 30,
                     log=directory / "client.log")
        done: int = json.loads(output)["done"]
        if not done:
            raise BenchmarkError(f"nothing was done:\n{tail(process.log)}")
        return done

    load(options.warm_up)
    before: Cpu = process.cpu()
    done = load(options.seconds)
    subprocess.run(["sleep", str(SETTLE_S)], check=True)
    process.check()
    return (process.cpu() - before).total_s / done * 1e6


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--proxies", default="voltgw,squid")
    parser.add_argument("--python", default=sys.executable, help="that runs voltgw")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    guard()
    figures: dict[str, dict[str, list[float]]] = {}
    with work_directory(options.keep) as directory:
        subprocess.run([options.python, "-c", _MAKE, str(directory)], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        plain, secure = free_ports(2)
        origin(directory, plain, secure)
        for kind in KINDS:
            for name in options.proxies.split(","):
                port = free_ports(1)[0]
                opened = kind == "inspected"
                process = (voltgw(directory, options.python, port, secure, opened) if name == "voltgw"
                           else squid(directory, port, secure, opened))
                ca = str(directory / ("signer.pem" if opened else "ca.pem"))
                rounds = [measured(process, kind, port, secure, plain, options, directory, ca) for _ in range(options.rounds)]
                figures.setdefault(kind, {})[name] = rounds
                process.stop()
    print(f"{'CPU microseconds per':44}" + "".join(f"{name:>14}" for name in options.proxies.split(",")))
    for kind, text in KINDS.items():
        print(f"{text:44}" + "".join(f"{statistics.median(figures[kind][name]):14.1f}" for name in figures[kind]))
    if options.json is not None:
        options.json.write_text(json.dumps({"comparison": "forward", "unit": "CPU us", "rounds": figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        sys.exit(1)
