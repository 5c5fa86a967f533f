"""What ties a connection to an endpoint to some requests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from voltgw.proxy.ties import FREE, Tie, Tied, bring


class Connection:
    """One that is tied to a client."""

    def __init__(self, client: Any) -> None:
        self.tie = Tie(client=client)
        self.told = 0

    def left_by_client(self) -> None:
        """Count it."""
        self.told += 1


class TieTests(SynchronousTestCase):
    def test_idle_connections_of_a_tie(self) -> None:
        """The newest one of an equal tie comes last; those of other names or headers are not used."""
        idle: list[Any] = [SimpleNamespace(tie=Tie(name), number=n) for n, name in enumerate("abab")]
        self.assertTrue(bring(idle, Tie("a")))
        self.assertEqual((idle[-1].tie.server_name, idle[-1].number, len(idle)), ("a", 2, 4))
        for tie in (Tie("c"), Tie("a", b"PROXY UNKNOWN\r\n"), Tie("a", client=object()), FREE):     # type: ignore[arg-type]
            self.assertFalse(bring(idle, tie), tie)

    def test_the_client_has_gone(self) -> None:
        """What only it could use is told, once; what has ended before is not."""
        tied, one, other = Tied(), object(), object()
        first, second, third = Connection(one), Connection(one), Connection(other)
        for connection in (first, second, third):
            tied.add(connection)
        tied.forget(second)
        tied.forget(second)
        self.assertEqual(len(tied), 2)
        tied.gone(one)          # type: ignore[arg-type]
        tied.gone(one)          # type: ignore[arg-type]
        self.assertEqual((first.told, second.told, third.told, len(tied)), (1, 0, 0, 1))
        tied.forget(third)
        self.assertEqual(len(tied), 0)
