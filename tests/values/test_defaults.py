"""`voltgw.values.defaults`: what the page of defaults is made from."""

from __future__ import annotations

import ast
import inspect

from twisted.trial.unittest import SynchronousTestCase

from voltgw.values import defaults

#: The units that a number may have, as the end of its name; everything else is a count, an address or a port.
UNITS = ("_S", "_BYTES")
COUNTS = ("MAX_", "HEALTHY_THRESHOLD", "UNHEALTHY_THRESHOLD", "CONNECT_RETRIES", "RETRIES", "RETRY_", "RESERVED_FDS", "ADMIN_PORT",
          "CAPTURE_PORT", "CIRCUIT_BREAKER_", "DNS_RESPONSES_", "DNS_SLIP", "ADMIN_FDS")


class DefaultsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.body = ast.parse(inspect.getsource(defaults)).body

    def test_each_is_explained(self) -> None:
        """Every constant is Final and followed by one sentence or more, which the docs print."""
        names = 0
        for statement, after in zip(self.body, [*self.body[1:], None], strict=True):
            if isinstance(statement, ast.Assign):
                self.fail(f"line {statement.lineno}: a default is declared Final")
            if not isinstance(statement, ast.AnnAssign):
                continue
            assert isinstance(statement.target, ast.Name)
            name = statement.target.id
            if name.startswith("_"):
                continue
            names += 1
            self.assertEqual(ast.unparse(statement.annotation), "Final", name)
            said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
            assert isinstance(said, str), name
            self.assertTrue(said.endswith((".", ").")), name)
        self.assertGreater(names, 20)

    def test_each_number_has_a_unit(self) -> None:
        """Seconds end in ``_S`` and are floats, sizes in ``_BYTES`` and are ints, rates in ``_PER_S``, parts of a whole in
        ``_SHARE``; the rest are counts. None is negative."""
        for name, value in vars(defaults).items():
            if not name.isupper() or name.startswith("_") or not isinstance(value, int | float):
                continue
            self.assertGreaterEqual(value, 0, name)
            if name.endswith(("_PER_S", "_SHARE")):
                continue
            if name.endswith("_S"):
                self.assertIsInstance(value, float, name)
            elif name.endswith("_BYTES"):
                self.assertIsInstance(value, int, name)
            else:
                self.assertTrue(name.startswith(COUNTS), f"{name} has no unit, nor is it a known kind of count")

    def test_they_agree(self) -> None:
        """Bounds that contain others are the larger ones."""
        d = defaults
        self.assertLess(d.CONNECT_TIMEOUT_S, d.RESPONSE_HEAD_TIMEOUT_S)
        self.assertLess(d.REQUEST_HEAD_TIMEOUT_S, d.KEEP_ALIVE_TIMEOUT_S)
        self.assertLess(d.KEEP_ALIVE_TIMEOUT_S, d.UPSTREAM_IDLE_TIMEOUT_S)
        self.assertLess(d.BODY_IDLE_TIMEOUT_S, d.TUNNEL_IDLE_TIMEOUT_S)
        self.assertLess(d.HEALTH_TIMEOUT_S, d.HEALTH_INTERVAL_S)
        self.assertLessEqual(d.MAX_REQUEST_HEAD_BYTES, d.MAX_RESPONSE_HEAD_BYTES)
        self.assertLessEqual(d.MAX_REQUEST_HEAD_BYTES, d.MAX_PIPELINED_BYTES)
