"""The access logs that a configuration wants."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from voltgw.app.log_daemons import daemon_sink
from voltgw.app.settings import StartError
from voltgw.config.log_template import COMBINED, COMMON, parse
from voltgw.config.logs import AccessLog as Wanted
from voltgw.config.logs import ClientAddresses, LogFormat
from voltgw.observe.access import AccessLog
from voltgw.observe.anonymous import network_of
from voltgw.observe.chosen import Chosen
from voltgw.observe.explained import ExplainedLines
from voltgw.observe.headers import HeaderLines, Headers
from voltgw.observe.json_lines import JsonLines
from voltgw.observe.outputs import FileSink, Output
from voltgw.observe.template_lines import TemplateLines
from voltgw.observe.text_lines import TextLines

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from voltgw.config.model import Config
    from voltgw.interfaces import Journal
    from voltgw.observe.access import Explain, Find
    from voltgw.observe.lines import Lines
    from voltgw.observe.outputs import Taker

#: Of a hash's key that is not given (bytes); and the most that blake2b takes.
_KEY_BYTES = 32
_MOST_KEY_BYTES = 64


class About(NamedTuple):
    """What all logs of a gateway share."""

    site: str
    hostname: str
    explain: Explain | None = None
    find: Find | None = None


def open_access_log(
    config: Config, clock: IReactorTime, wall: Callable[[], float], *, to_stdout: bool, journal: Journal | None = None,
    explain: Explain | None = None, find: Find | None = None,
) -> AccessLog | None:
    """The access log that the configuration wants; None = it wants none.

    With `to_stdout` it wants text on standard output where it says nothing. `journal`, `explain` and `find` are the log's own.
    Raises StartError when one cannot be written, and then none is open.
    """
    wanted = config.gateway.access_log
    if not wanted and to_stdout:
        wanted = (Wanted(path="-", format=LogFormat.TEXT),)
    about = About(config.gateway.site_name, socket.gethostname(), explain, find)
    outputs: list[Output] = []
    try:
        for one in wanted:
            if (one.path, one.syslog, one.journald) != (None, None, None):
                outputs.append(_output(one, about, {output.name for output in outputs}, wall, clock.seconds))
    except StartError:
        for output in outputs:
            output.sink.close()
        raise
    if not outputs:
        return None
    log = AccessLog(outputs, clock, wall, journal=journal)
    log.quiet = quiet_hosts(config)
    return log


def quiet_hosts(config: Config) -> frozenset[str]:
    """The virtual hosts (namespace/name) of which nothing shall be written."""
    return frozenset(
        f"{each.namespace}/{each.name}" for each in config.of("virtual_host").values()
        if each.spec.voltgw is not None and each.spec.voltgw.no_access_log)


def _output(wanted: Wanted, about: About, taken: set[str], wall: Callable[[], float], monotonic: Callable[[], float]) -> Output:
    name, sink = _sink(wanted, about.hostname, wall, monotonic)
    number = 2
    while name in taken:                    # two logs to one place: allowed, and told apart
        name = f"{name.partition(' #')[0]} #{number}"
        number += 1
    only, sample = wanted.only, dict(wanted.sample)
    requests_only = wanted.format in (LogFormat.COMMON, LogFormat.COMBINED)     # others have no place for a connection
    chosen = None
    if only is not None or sample or requests_only:
        chosen = Chosen(() if only is None else only.status, 0.0 if only is None else only.min_duration_s or 0.0,
                        frozenset() if only is None else frozenset(only.hosts), sample, requests_only)
    json = wanted.template is None and wanted.format is LogFormat.JSON
    return Output(name, lines_of(wanted, about), sink, chosen, weighed=bool(sample) and json)


def lines_of(wanted: Wanted, about: About) -> Lines:
    """What makes lines as one log wants them."""
    anonymous = wanted.client_addresses is ClientAddresses.NETWORK
    template = wanted.template or {LogFormat.COMMON: COMMON, LogFormat.COMBINED: COMBINED}.get(wanted.format)
    if template is not None:
        return TemplateLines(parse(template), site=about.site, hostname=about.hostname, find=about.find,
                             shown=network_of if anonymous else str)
    if wanted.format is LogFormat.TEXT:
        return TextLines(anonymous)
    lines: Lines = JsonLines(about.site, about.hostname, "site-local-vn", about.find, anonymous)
    headers = wanted.headers
    if headers is not None:
        key = os.urandom(_KEY_BYTES) if headers.hash_key is None else headers.hash_key.data[:_MOST_KEY_BYTES]
        lines = HeaderLines(lines, Headers(headers.request, headers.response, headers.hashed, key))
    if wanted.explain and about.explain is not None:
        lines = ExplainedLines(lines, about.explain, wanted.explain)
    return lines


def _sink(
    wanted: Wanted, hostname: str, wall: Callable[[], float], monotonic: Callable[[], float],
) -> tuple[str, Taker]:
    """The name of a log, and what takes its lines. Raises StartError."""
    if wanted.path is None:
        return daemon_sink(wanted.syslog, wanted.journald, "access", hostname, wall, monotonic)
    try:
        return wanted.path, FileSink(wanted.path)
    except OSError as error:
        raise StartError(f"gateway.access_log: {wanted.path} cannot be written: {error.strerror}") from error
