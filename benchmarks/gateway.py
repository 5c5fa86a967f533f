"""voltgw under test: its configuration, its command line, and which Python runs it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from harness import ROOT, BenchmarkError
from proxies import (
    ANSWER_S,
    CORS_ORIGIN,
    HOST,
    MAX_CONNECTIONS,
    REQUEST_EDIT,
    RESPONSE_EDIT,
    STICKY_COOKIE,
    TLS_NAME,
    UDP_IDLE_S,
    Proxy,
)

#: Asked of the interpreter under test. Debian's rules build with profile feedback, which CONFIG_ARGS does not show.
_ABOUT_PYTHON: Final = """
import glob, json, os, platform, sys, sysconfig
build = sysconfig.get_config_var("CONFIG_ARGS") or ""
real = os.path.realpath(sys.executable)
packaged = bool(glob.glob("/var/lib/dpkg/info/%s-minimal*.list" % os.path.basename(real))) and real.startswith("/usr/bin/")
pgo = "yes" if "--enable-optimizations" in build else "yes (distribution package)" if packaged else "no"
def version(name):
    try:
        from importlib.metadata import version
        return version(name)
    except Exception as error:
        return "missing (%s)" % error
print(json.dumps({
    "implementation": platform.python_implementation(), "version": platform.python_version(),
    "compiler": platform.python_compiler(),
    "pgo": pgo, "lto": "yes" if "--with-lto" in build else "unknown" if packaged else "no",
    "twisted": version("twisted"), "orjson": version("orjson"),
}))
"""
#: Asked of the package that will run: where it lies, and which of its modules are compiled.
_ABOUT_BUILD: Final = """
import json, pathlib, voltgw
folder = pathlib.Path(voltgw.__file__).parent
modules = sorted(".".join(file.relative_to(folder).parts).partition(".cpython")[0] for file in folder.rglob("*.cpython*.so")
                 if "__mypyc." not in file.name)
print(json.dumps({"folder": str(folder), "version": voltgw.__version__, "modules": modules}))
"""
#: The object model allows no more in one cluster; further endpoints go to further clusters.
_MOST_ENDPOINTS: Final = 32
#: Nor more clusters in one rule.
_MOST_CLUSTERS: Final = 16
#: Nor more rules in one route object.
_MOST_RULES: Final = 250
#: As the `twistd` script, for any interpreter.
TWISTD: Final = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"


#: What `Setup.full` asks of each route, and `Setup.ten` besides.
_FULL: Final[dict[str, Any]] = {
    "timeout": ANSWER_S * 1000,
    "retry_policy": {"retry_condition": ["connect-failure", "refused-stream", "gateway-error"], "num_retries": 2,
                     "per_try_timeout": ANSWER_S * 500},
}
_TEN: Final[dict[str, Any]] = {"hash_policy": [{"cookie": {"name": STICKY_COOKIE, "path": "/", "ttl": 3600000}}]}


@cache
def about_python(python: str) -> dict[str, str]:
    """Version, build and the libraries that matter of an interpreter."""
    try:
        done = subprocess.run([python, "-c", _ABOUT_PYTHON], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchmarkError(f"cannot run {python}: {error}") from error
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


@cache
def revision() -> str:
    """The checkout that runs, ``-dirty`` with changes that are not committed; empty outside a checkout."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--tags"], capture_output=True,
                              text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def environment_of(checkout: bool) -> dict[str, str]:
    """Of a process that imports voltgw: from this checkout, whatever is installed, or else what its interpreter has."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**inherited, "PYTHONPATH": str(ROOT)} if checkout else inherited


def build_of(python: str, environment: Mapping[str, str], directory: Path) -> dict[str, Any]:
    """The package that such a process imports: `folder`, `version`, and `modules`, the names of those that are compiled."""
    try:
        done = subprocess.run([python, "-c", _ABOUT_BUILD], capture_output=True, text=True, check=False, timeout=60,
                              env=dict(environment), cwd=directory)
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchmarkError(f"cannot run {python}: {error}") from error
    if done.returncode:
        raise BenchmarkError(f"{python} cannot import voltgw: {done.stderr.strip()[-300:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class Voltgw(Proxy):
    """voltgw, one process, of this checkout and as it lies there: interpreted, unless it was compiled in place."""

    name = "voltgw"
    checkout = True
    #: The interpreter's own arguments in front of `-n`: `profile.py` puts its measuring launcher here.
    launcher: tuple[str, ...] = ("-c", TWISTD)
    _build: dict[str, Any] | None = None

    @property
    def python(self) -> str:
        """The interpreter that runs it."""
        return self.setup.python

    @property
    def build(self) -> dict[str, Any]:
        """What `build_of` says of the package that runs."""
        if self._build is None:
            self._build = build_of(self.python, self.environment(), self.directory)
        return self._build

    def start(self) -> None:
        """Start it, if it is the build that it is said to be."""
        compiled, folder = len(self.build["modules"]), self.build["folder"]
        if self.setup.compiled and compiled and self.checkout:
            raise BenchmarkError(f"{folder} has {compiled} compiled modules: {self.name} would not be the interpreted build")
        if not compiled and not self.checkout:
            raise BenchmarkError(f"{folder}, which {self.python} imports, has no compiled module")
        print(f"{self.name}: {compiled} compiled modules in {folder}", file=sys.stderr, flush=True)
        super().start()

    def command(self) -> list[str]:
        """`twistd -n voltgw`, with the interpreter that was asked for."""
        return [self.python, *self.launcher, "-n", "--pidfile=", "voltgw", "--config",
                str(self.directory / "voltgw.yaml")]

    def environment(self) -> dict[str, str]:
        """Whose import path says which package runs."""
        return environment_of(self.checkout)

    def version(self) -> str:
        """The package's version, the revision if it is that of the checkout, and the build."""
        modules = self.build["modules"]
        build = f"({f'compiled, {len(modules)} modules' if modules else 'interpreted'})"
        return " ".join(part for part in (self.build["version"], revision() if self.checkout else "", build) if part)

    def write_config(self) -> str:
        """voltgw.yaml, in JSON: a subset, and the standard library can write it."""
        setup = self.setup
        gateway: dict[str, Any] = {"admin": {"address": "127.0.0.1", "port": self.admin_port},
                                   # It counts both sides of a relay; the peers count clients.
                                   "max_connections": MAX_CONNECTIONS * 2}
        if setup.features:
            gateway["access_log"] = {"path": str(self.access_log), "format": "json"}
        names = [HOST] if setup.certificate is None and setup.mode != "sni" else [HOST, TLS_NAME]
        transport = "UDP" if setup.mode == "udp" else "TCP"
        if transport == "UDP":
            gateway["trusted_sources"] = ["127.0.0.0/8"]        # so many sessions of one host are too many otherwise
            gateway["max_connections"] *= 2                     # a session is half a connection
        kind = "TCP_PROXY_WITH_SNI" if setup.mode == "sni" else f"{setup.mode.upper()}_PROXY"
        host: dict[str, Any] = {"domains": ["*"] if setup.mode in {"tcp", "udp"} else names, "proxy": kind,
                                "advertise_policies": [{"name": "shop"}], "routes": [{"name": "shop"}]}
        if transport == "UDP":
            host["idle_timeout"] = UDP_IDLE_S * 1000
        if setup.features and setup.mode == "http":
            for key, (name, value) in (("request_headers_to_add", REQUEST_EDIT), ("response_headers_to_add", RESPONSE_EDIT)):
                host[key] = [{"name": name, "value": value, "append": True}]
        if setup.ten:
            host["cors_policy"] = {"allow_origin": [CORS_ORIGIN], "allow_methods": "GET, PUT", "allow_credentials": True}
        if setup.version_2:
            host["http_protocol_options"] = {"http_protocol_enable_v1_v2": {}}
        if setup.certificate is not None:
            pem = "string:///" + base64.b64encode(setup.certificate.read_bytes()).decode("ascii")
            host["proxy"] = "HTTPS_PROXY"
            host["tls_parameters"] = {"common_params": {"tls_certificates": [
                {"certificate_url": pem, "private_key": {"clear_secret_info": {"url": pem}}}]}}
        checks: dict[str, Any] = {"health_checks": [{"name": "shop"}]} if setup.probe_interval_s else {}
        objects = [
            entity("virtual_host", "shop", host),
            entity("advertise_policy", "shop", {"address": "127.0.0.1", "protocol": transport, "port": self.port}),
        ]
        rules: list[dict[str, Any]] = []
        together: list[dict[str, Any]] = []
        for first in range(0, len(setup.endpoints), _MOST_ENDPOINTS):
            name = f"shop-{first}"
            members = range(first, min(first + _MOST_ENDPOINTS, len(setup.endpoints)))
            objects.append(entity("cluster", name, {
                "endpoints": [{"name": f"shop-{number}"} for number in members], "loadbalancer_algorithm": "ROUND_ROBIN",
                # As for Envoy: thousands of clients ask at once.
                "circuit_breaker": {"pending_requests": MAX_CONNECTIONS}, **checks}))
            together.append({"cluster": [{"name": name}], "weight": 1})
            # Where there are too many for one rule, the first cluster has everything; the others are there to be probed.
            match = {"match": [{"path": {"prefix": f"/{name}/"}}]} if first else {}
            rules.insert(0, {**match, "route_destination": {"destinations": [together[-1]]}})
        if len(together) <= _MOST_CLUSTERS:
            rules = [{"route_destination": {"destinations": together}}]
        if setup.websocket:
            for rule in rules:
                rule["route_destination"]["web_socket_config"] = {"use_websocket": True}
        if setup.full:
            for rule in rules:
                rule["route_destination"] |= _FULL | (_TEN if setup.ten else {})
        if setup.routes > 1:
            others = [{**rules[-1], "match": [{"path": {"prefix": prefix}}]} for prefix in setup.prefixes]
            parts = [others[first:first + _MOST_RULES] for first in range(0, len(others), _MOST_RULES)]
            host["routes"] = [*({"name": f"others-{number}"} for number in range(len(parts))), {"name": "shop"}]
            objects += [entity("route", f"others-{number}", {"routes": part}) for number, part in enumerate(parts)]
        objects.append(entity("route", "shop", {"routes": rules}))
        objects += [entity("endpoint", f"shop-{number}", {"ip": address, "port": port, "protocol": transport})
                    for number, (address, port) in enumerate(setup.endpoints)]
        if checks:
            objects.append(entity("healthcheck", "shop", {
                "http_health_check": {"path": "/healthz"}, "interval": setup.probe_interval_s, "timeout": 1,
                "healthy_threshold": 1, "unhealthy_threshold": 2}))
        text = json.dumps({"gateway": gateway, "objects": objects}, indent=1)
        (self.directory / "voltgw.yaml").write_text(text)
        return text

    def metrics(self) -> dict[str, float]:
        """Every sample of the admin interface's /metrics, by name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=5) as response:
            text = response.read().decode()
        samples = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples


class VoltgwCompiled(Voltgw):
    """voltgw as it is installed for another interpreter, with modules that mypyc has compiled."""

    name = "voltgw-compiled"
    checkout = False

    @property
    def python(self) -> str:
        """The interpreter that it is installed for."""
        if not self.setup.compiled:
            raise BenchmarkError("--compiled must name the interpreter that has the compiled build")
        return self.setup.compiled


def entity(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """One object of the configuration."""
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}

