"""References, read-only maps, ranges, secrets."""

from __future__ import annotations

import pickle

from twisted.trial.unittest import SynchronousTestCase

from voltgw.config.values import FrozenMap, Range, Ref, Secret
from voltgw.errors import Place


class RefTests(SynchronousTestCase):
    def test_places_do_not_take_part_in_comparisons(self) -> None:
        """The same reference elsewhere in a file is the same reference."""
        one, other = Ref(None, "a", Place("x", 1, 2)), Ref(None, "a", Place("y", 3, 4))
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertEqual(one.place, Place("x", 1, 2))

    def test_namespace_name_and_tenant_do(self) -> None:
        """A missing namespace is not the same as the default one."""
        self.assertNotEqual(Ref(None, "a"), Ref("default", "a"))
        self.assertNotEqual(Ref(None, "a"), Ref(None, "b"))
        self.assertNotEqual(Ref(None, "a"), Ref(None, "a", tenant="ves-io"))
        self.assertNotEqual(Ref(None, "a"), "a")

    def test_text(self) -> None:
        """As one would write it."""
        self.assertEqual(str(Ref(None, "a")), "a")
        self.assertEqual(str(Ref("ns", "a")), "ns/a")

    def test_built_in_objects(self) -> None:
        """What the vendor's system brings along is told by its tenant or its name."""
        self.assertTrue(Ref("shared", "public", tenant="ves-io").built_in)
        self.assertTrue(Ref("shared", "ves-io-all-res").built_in)
        self.assertFalse(Ref("shared", "public").built_in)


class FrozenMapTests(SynchronousTestCase):
    def test_it_is_a_map_that_can_be_hashed(self) -> None:
        """Order does not count, content does."""
        self.assertEqual(FrozenMap({"a": "1", "b": "2"}), {"b": "2", "a": "1"})
        self.assertEqual(hash(FrozenMap({"a": "1", "b": "2"})), hash(FrozenMap({"b": "2", "a": "1"})))

    def test_it_cannot_be_changed(self) -> None:
        """Every way to change a dict is closed."""
        one: FrozenMap[str, str] = FrozenMap({"a": "1"})
        for change in (
            lambda: one.__setitem__("b", "2"), lambda: one.__delitem__("a"), one.clear, one.popitem,
            lambda: one.pop("a"), lambda: one.update(b="2"), lambda: one.setdefault("b", "2"),
            lambda: one.__ior__({"b": "2"}),
        ):
            self.assertRaises(TypeError, change)
        self.assertEqual(one, {"a": "1"})

    def test_union_makes_a_new_one(self) -> None:
        """The right side wins."""
        self.assertEqual(FrozenMap({"a": "1", "b": "2"}) | {"b": "3"}, {"a": "1", "b": "3"})

    def test_it_crosses_a_process_boundary(self) -> None:
        """Workers get configurations from another process."""
        copy = pickle.loads(pickle.dumps(FrozenMap({"a": "1"})))
        self.assertIsInstance(copy, FrozenMap)
        self.assertEqual(copy, {"a": "1"})


class RangeTests(SynchronousTestCase):
    def test_both_ends_belong_to_it(self) -> None:
        """``200-204`` are five statuses."""
        one = Range(200, 204)
        self.assertEqual(list(one), [200, 201, 202, 203, 204])
        self.assertEqual(len(one), 5)
        self.assertIn(204, one)
        self.assertNotIn(205, one)
        self.assertEqual(str(one), "200-204")
        self.assertEqual(str(Range(80, 80)), "80")


class SecretTests(SynchronousTestCase):
    def test_it_is_never_shown(self) -> None:
        """Neither alone nor inside something else."""
        secret = Secret(b"hunter2")
        self.assertEqual(repr(secret), "***")
        self.assertNotIn("hunter2", f"{secret} {[secret]}")
        self.assertEqual(secret, Secret(b"hunter2"))
        self.assertNotEqual(secret, Secret(b"other"))
