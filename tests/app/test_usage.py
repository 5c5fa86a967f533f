"""`voltgw.app.usage`: what is in use, and how much there is."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from voltgw.app.usage import Usage, group_memory_bytes, host_memory_bytes


class UsageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.usage = Usage()
        self.addCleanup(self.usage.close)

    def test_memory(self) -> None:
        """64 MiB that are written to are in RAM, and gone again when they are given back."""
        before = self.usage.memory_bytes()
        with mmap.mmap(-1, 64 << 20) as pages:
            for at in range(0, len(pages), mmap.PAGESIZE):
                pages[at] = 1
            grown = self.usage.memory_bytes() - before
        self.assertTrue(60 << 20 < grown < 90 << 20, grown)
        self.assertTrue(self.usage.memory_bytes() - before < 30 << 20)
        self.usage.trim()
        self.assertTrue(self.usage.memory_bytes() > 1 << 20)

    def test_descriptors(self) -> None:
        """As many as the kernel lists; ten more are ten more."""
        before = self.usage.files()
        self.assertEqual(before, len(os.listdir("/proc/self/fd")) - 1)      # one is the listing's own
        opened = [os.dup(0) for _ in range(10)]
        self.assertEqual(self.usage.files(), before + 10)
        for fd in opened:
            os.close(fd)
        self.assertEqual(self.usage.files(), before)

    def test_a_kernel_that_does_not_say(self) -> None:
        """Before Linux 6.2 the folder says that it has no size: then its names are counted, thousands of them not each time."""
        proc = Path(self.mktemp())
        (proc / "fd").mkdir(parents=True)
        (proc / "statm").write_text("100 50 20 1 0 30 0\n", encoding="ascii")
        usage = Usage(str(proc))
        self.addCleanup(usage.close)
        self.patch(os, "stat", lambda path: os.stat_result((0,) * 10))
        for number in range(5):
            (proc / "fd" / str(number)).touch()
        self.assertEqual((usage.files(), usage.memory_bytes()), (5, 50 * mmap.PAGESIZE))
        listed: list[str] = []
        self.patch(os, "listdir", lambda path: listed.append(path) or ["x"] * 5000)     # type: ignore[func-returns-value]
        self.assertEqual([usage.files() for _ in range(21)], [5000] * 21)
        self.assertEqual(len(listed), 3)

    def test_none_left_to_count_with(self) -> None:
        """Where even the folder cannot be opened there is none left: that is as many as can be."""
        proc = Path(self.mktemp())
        proc.mkdir()
        (proc / "statm").write_text("1 1 1\n", encoding="ascii")
        usage = Usage(str(proc))
        self.addCleanup(usage.close)
        self.patch(os, "stat", lambda path: os.stat_result((0,) * 10))
        self.assertTrue(usage.files() > 1 << 29)


class LimitTests(SynchronousTestCase):
    def group(self, lines: str, **files: str) -> int | None:
        """The limit of a process whose ``cgroup`` file has `lines`, with these files (``a__b`` is ``a/b``) below the root."""
        top = Path(self.mktemp())
        proc, root = top / "proc", top / "root"
        proc.mkdir(parents=True)
        (proc / "cgroup").write_text(lines, encoding="utf-8")
        for name, text in files.items():
            path = root / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="ascii")
        return group_memory_bytes(str(proc), str(root))

    def test_version_2(self) -> None:
        """The smallest limit on the way to our group counts; ``max`` is none."""
        self.assertEqual(self.group("0::/a/b\n", a__memory_dot_max="1000000", a__b__memory_dot_max="max"), 1_000_000)
        self.assertEqual(self.group("0::/a/b\n", a__memory_dot_max="1000000", a__b__memory_dot_max="900000"), 900_000)
        self.assertEqual(self.group("0::/a/b\n", a__memory_dot_max="max", a__b__memory_dot_max="max"), None)

    def test_in_a_container(self) -> None:
        """There the group's path is not to be seen from inside, and its own limit stands at the root."""
        self.assertEqual(self.group("0::/../../x\n", memory_dot_max="500000"), 500_000)

    def test_version_1(self) -> None:
        """The same by its names; the number that it has for none is none."""
        lines = "5:cpu:/\n4:memory:/a\n"
        self.assertEqual(self.group(lines, memory__a__memory_dot_limit_in_bytes="700000",
                                    memory__memory_dot_limit_in_bytes="9223372036854771712"), 700_000)
        self.assertEqual(self.group(lines, memory__a__memory_dot_limit_in_bytes="9223372036854771712"), None)

    def test_no_group(self) -> None:
        """Where there are no control groups there is no limit; the host has its memory anyway."""
        self.assertEqual(self.group(""), None)
        self.assertEqual(group_memory_bytes("/nowhere"), None)
        self.assertTrue(host_memory_bytes() > 1 << 28)
