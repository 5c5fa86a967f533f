"""A gateway without sockets, for the test suites of those who use or extend voltgw (docs/howto/testing.rst).

`Gateway` serves a configuration with the gateway's own parts: routing, filters, policies, balancing, retries, health checks.
The network, the clock and chance are made up, so that a test opens no port, waits for nothing, and comes out the same every
time. Servers are functions of the test's.
"""

from __future__ import annotations

from voltgw.testing.client import Client, NoAnswer
from voltgw.testing.gateway import Gateway
from voltgw.testing.messages import Answer, Fields, Request
from voltgw.testing.server import Connection, Server

__all__ = ["Answer", "Client", "Connection", "Fields", "Gateway", "NoAnswer", "Request", "Server"]
