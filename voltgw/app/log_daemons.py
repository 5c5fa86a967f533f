"""What takes messages of a log to a syslog daemon, or to journald."""

from __future__ import annotations

from collections.abc import Callable

from voltgw.config.logs import DEV_LOG, JOURNAL_SOCKET, SYSLOG_PORT, TAG, Journald, Syslog, Transport
from voltgw.observe.journald import Native, send_large
from voltgw.observe.messages import DatagramSink, StreamSink
from voltgw.observe.syslog import Local, Rfc5424
from voltgw.values.address import where


def daemon_sink(
    syslog: Syslog | None, journald: Journald | None, kind: str, hostname: str, wall: Callable[[], float],
    monotonic: Callable[[], float],
) -> tuple[str, DatagramSink | StreamSink]:
    """The name of a log that goes to one of both, and what takes its messages; `kind` is ``access`` or ``process``.

    Whether anybody listens there shows when there is something to say: a daemon may be started later, or anew.
    """
    if journald is not None:
        path = journald.socket or JOURNAL_SOCKET
        return f"journald {path}", DatagramSink(path, Native(journald.tag or TAG, kind), wall, send_large)
    assert syslog is not None
    facility, tag = syslog.facility.value, syslog.tag or TAG
    if syslog.address is None:
        path = syslog.unix or DEV_LOG
        return f"syslog {path}", DatagramSink(path, Local(facility, tag), wall)
    port = SYSLOG_PORT if syslog.port is None else syslog.port
    name = f"syslog {syslog.transport.value}:{where(syslog.address, port)}"
    if syslog.transport is Transport.TCP:
        return name, StreamSink((syslog.address, port), Rfc5424(facility, hostname, tag, kind, counted=True), wall, monotonic)
    return name, DatagramSink((syslog.address, port), Rfc5424(facility, hostname, tag, kind), wall)
