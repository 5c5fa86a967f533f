"""The origin behind every proxy: nginx with one worker on the load's CPU, answering from memory or from the page cache.

It can also say what it was sent (`SEEN_PATH`), so that a run can prove that each proxy really does what it is said to do.
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from harness import LOAD_CPU, BenchmarkError, Proc, free_ports

NGINX: Final = os.environ.get("NGINX", "/usr/sbin/nginx")

#: Body of a small answer: 128 bytes.
SMALL: Final = "voltgw benchmark origin: one hundred and twenty-eight bytes. ".ljust(127, ".") + "\n"
SEEN_PATH: Final = "/_seen"

#: Files served from the page cache, by the name that a comparison uses.
FILES: Final = {"64k": 64 << 10, "1m": 1 << 20, "10m": 10 << 20, "256m": 256 << 20}

_CONF: Final = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {nofile};
pid {directory}/origin.pid;
error_log {directory}/origin-error.log warn;
{user}
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/origin-body;
    proxy_temp_path {directory}/origin-proxy;
    fastcgi_temp_path {directory}/origin-fastcgi;
    uwsgi_temp_path {directory}/origin-uwsgi;
    scgi_temp_path {directory}/origin-scgi;
    open_file_cache max=100;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        {wildcard}
        {tls}
        root {directory}/files;
        location / {{ return 200 "{small}"; }}
        location = {seen} {{
            default_type application/json;
            set $sent '"host":"$http_host","connection":"$http_connection","protocol":"$server_protocol","at":"$server_addr"';
            return 200 '{{"id":"$http_x_request_id","xff":"$http_x_forwarded_for","edit":"$http_x_bench_request",$sent}}';
        }}
        location = /_count {{ stub_status; }}
{files}
    }}
}}
"""


@cache
def nginx_build() -> str:
    """What `nginx -V` says."""
    try:
        return subprocess.run([NGINX, "-V"], capture_output=True, text=True, check=True).stderr
    except OSError as error:
        raise BenchmarkError(f"nginx is needed as the origin: {error}; set NGINX to its path") from error


def nginx_module(name: str) -> str:
    """The line that loads a module which this nginx has as a file; empty when it is built in.

    Debian ships modules as packages of their own; NGINX_MODULES may name another directory to find them in.
    """
    build = nginx_build()
    match = re.search(r"--modules-path=(\S+)", build)
    path = Path(os.environ.get("NGINX_MODULES") or (match[1] if match else "/usr/lib/nginx/modules")) / f"{name}.so"
    if path.exists():
        return f"load_module {path};"
    if name == "ngx_stream_module" and "--with-stream=dynamic" in build:
        raise BenchmarkError(f"{path} is missing: apt-get install libnginx-mod-stream, or leave nginx out of --proxies")
    return ""


def nginx_user() -> str:
    """As root its worker must still be able to read the work directory."""
    return "user root;" if os.geteuid() == 0 else ""


class Origin:
    """A running origin; `files` are names of `FILES` to serve below ``/<name>/``.

    `everywhere` listens on all of 127/8 too, so that one process stands for thousands of endpoints. With `certificate`, a PEM
    file with a key, it speaks TLS on `tls_port`.
    """

    def __init__(self, directory: Path, *, files: tuple[str, ...] = (), everywhere: bool = False, nice: int = 0,
                 certificate: Path | None = None) -> None:
        port, second, self.tls_port = free_ports(3)
        self.port = port
        self.everywhere_port = second if everywhere else 0
        (directory / "files").mkdir(exist_ok=True)
        locations = []
        for name in files:
            # A location takes every path below it, so that the paths of file requests can be distinct too.
            locations.append(f"        location /{name}/ {{ rewrite ^ /{name}.bin break; }}")
            with (directory / "files" / f"{name}.bin").open("wb") as out:
                for _ in range(0, FILES[name], 65536):
                    out.write(b"0123456789abcdef" * 4096)
        conf = directory / "origin.conf"
        conf.write_text(_CONF.format(
            directory=directory, user=nginx_user(), port=port, small=SMALL.replace("\n", "\\n"), seen=SEEN_PATH,
            files="\n".join(locations), nofile=16000, connections=15000,
            wildcard=f"listen 0.0.0.0:{second} backlog=4096;" if everywhere else "",
            tls="" if certificate is None else
            f"listen 127.0.0.1:{self.tls_port} ssl backlog=4096; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {certificate}; "
            f"ssl_certificate_key {certificate};"))
        self.process = Proc("origin", [NGINX, "-p", str(directory), "-c", str(conf), "-e", str(directory / "origin-error.log")],
                            LOAD_CPU, directory / "origin.log", nice=nice)
        self.process.wait_for_port(port)

    def stop(self) -> None:
        """End it."""
        self.process.stop()
