"""``voltgw rules``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from tests.config.making import write
from tests.integration.test_three_directions import ALLOW, CONFIG

CAPTURING = CONFIG.replace("ADMIN", "9901").replace("RULE", ALLOW).replace("OUT", "wan").replace("INTO", "lan")


class RulesTests(SynchronousTestCase):
    def file(self, source: str) -> str:
        """The path of a file."""
        return str(write(self.mktemp(), {"voltgw.yaml": source}) / "voltgw.yaml")

    def test_a_redirect(self) -> None:
        """One script for the inside network, which nft reads."""
        done = run(["rules", self.file(CAPTURING.replace("MODE", "redirect"))])
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertTrue(done.out.startswith("ip netns exec lan nft -f - <<'END'\ntable inet voltgw\n"), done.out)
        self.assertIn('iifname "eth0" meta l4proto tcp redirect to :15001', done.out)
        self.assertNotIn("ip rule", done.out)

    def test_tproxy(self) -> None:
        """It needs routing as well."""
        done = run(["rules", "--print", self.file(CAPTURING.replace("MODE", "tproxy"))])
        self.assertIn("ip netns exec lan ip -6 rule add fwmark 0x7667 lookup 7667 priority 7667\n", done.out)

    def test_nothing_is_captured(self) -> None:
        """That is said, as a comment."""
        done = run(["rules", self.file(CAPTURING.replace("MODE", "none"))])
        self.assertEqual((done.status, done.out), (0, "# nothing is captured\n"))

    def test_errors(self) -> None:
        """Status 2, and what is wrong."""
        done = run(["rules", self.file("objects: [{kind: route}]\n")])
        self.assertEqual((done.status, done.out), (2, ""))
        self.assertIn("error[VG", done.err)
