"""What a reader must know of the machine to judge the figures."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path
from typing import Any

from gateway import about_python
from harness import LOAD_CPU, PROXY_CPU


def describe(python: str, nice: int, compiled: str = "") -> dict[str, Any]:
    """CPU, kernel, limits, and the Python that runs voltgw."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "mhz": _field("/proc/cpuinfo", "cpu MHz"),
        "cpus": os.cpu_count(),
        "hypervisor": " hypervisor" in Path("/proc/cpuinfo").read_text(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "system": _field("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "open_files_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "load_average": os.getloadavg()[0],
        "proxy_cpu": PROXY_CPU,
        "load_cpu": LOAD_CPU,
        "nice": nice,
        "python": about_python(python),
        # Of the compiled build, where there is one and its interpreter is another.
        **({"compiled_python": other} if compiled and (other := about_python(compiled)) != about_python(python) else {}),
    }


def in_words(machine: dict[str, Any]) -> str:
    """One paragraph."""
    def interpreter(python: dict[str, str]) -> str:
        return (f"{python['implementation']} {python['version']} ({python['compiler']}; built with profile feedback: "
                f"{python['pgo']}; LTO: {python['lto']}; Twisted {python['twisted']}; orjson {python['orjson']})")

    other = machine.get("compiled_python")
    return (
        f"{machine['cpus']} x {machine['cpu']}{' (virtual machine)' if machine['hypervisor'] else ''}, {machine['memory']}, "
        f"{machine['system']}, Linux {machine['kernel']}. Proxy on CPU {machine['proxy_cpu']}, origin and load generator on "
        f"CPU {machine['load_cpu']}, 127.0.0.1. voltgw on {interpreter(machine['python'])}"
        f"{f', compiled on {interpreter(other)}' if other else ''}.")


def _field(path: str, name: str, separator: str = ":") -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    for line in lines:
        key, _, value = line.partition(separator)
        if key.strip() == name:
            return value.strip()
    return "unknown"
