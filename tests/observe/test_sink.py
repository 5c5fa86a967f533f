"""Writing without waiting."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat

from twisted.trial.unittest import SynchronousTestCase

from voltgw.observe.sink import Sink, _write_if_room


class Disk:
    """Stands for os.write: `room` bytes are taken, then writing fails with `error`."""

    def __init__(self, room: int = 1 << 30, error: int = errno.ENOSPC) -> None:
        self.room = room
        self.error = error
        self.parts: list[bytes] = []
        self.calls = 0
        self.lines: list[int] = []          # in each call

    def __call__(self, fd: int, data: bytes) -> int:
        """os.write(2), as far as it matters here."""
        self.calls += 1
        self.lines.append(data.count(b"\n"))
        if not self.room:
            raise OSError(self.error, os.strerror(self.error))
        part = data[:self.room]
        self.room -= len(part)
        self.parts.append(part)
        return len(part)

    @property
    def taken(self) -> bytes:
        """All that was written."""
        return b"".join(self.parts)


def read(path: str) -> bytes:
    """A file's content."""
    with open(path, "rb") as file:
        return file.read()


class FileTests(SynchronousTestCase):
    """Regular files."""

    def test_lines_are_appended(self) -> None:
        """What stood there stays, and another writer's lines are not overwritten."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"old\n")
        one, two = Sink(path), Sink(path)
        for sink in (one, two, one):
            sink.write(b"line\n", 1)
        one.close()
        two.close()
        self.assertEqual(read(path), b"old\nline\nline\nline\n")
        self.assertEqual((one.lines, one.bytes, one.problem), (2, 10, ""))

    def test_nobody_else_may_read(self) -> None:
        """A new file has mode 0640 at most."""
        path = self.mktemp()
        Sink(path).close()
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & ~0o640, 0)

    def test_a_file_that_cannot_be_opened(self) -> None:
        """The constructor says so."""
        self.assertRaises(FileNotFoundError, Sink, os.path.join(self.mktemp(), "access.log"))
        self.assertRaises(IsADirectoryError, Sink, ".")

    def test_rotation(self) -> None:
        """After the file was moved away, `reopen` begins a new one under the name."""
        path = self.mktemp()
        sink = Sink(path)
        sink.write(b"one\n", 1)
        os.rename(path, path + ".1")
        sink.write(b"two\n", 1)
        self.assertEqual(sink.reopen(), "")
        sink.write(b"three\n", 1)
        sink.close()
        self.assertEqual((read(path + ".1"), read(path)), (b"one\ntwo\n", b"three\n"))

    def test_rotation_into_a_directory_that_is_gone(self) -> None:
        """The old file stays in use, and the answer says why."""
        folder = self.mktemp()
        os.mkdir(folder)
        path = os.path.join(folder, "access.log")
        sink = Sink(path)
        kept = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, kept)
        os.unlink(path)
        os.rmdir(folder)
        self.assertEqual(sink.reopen(), "No such file or directory")
        sink.write(b"line\n", 1)
        sink.close()
        self.assertEqual(os.read(kept, 100), b"line\n")

    def test_close_twice(self) -> None:
        """The second time changes nothing."""
        sink = Sink(self.mktemp())
        sink.close()
        sink.close()
        sink.write(b"late\n", 1)
        self.assertEqual(sink.bytes, 0)


class TroubleTests(SynchronousTestCase):
    """Full disks and full pipes, by a fake write."""

    def sink(self, disk: Disk, tail_bytes: int = 20) -> Sink:
        """A sink on that disk."""
        sink = Sink(self.mktemp(), tail_bytes=tail_bytes, write=disk)
        self.addCleanup(sink.close)
        return sink

    def test_a_full_disk_that_gets_room_again(self) -> None:
        """A line that was cut in the middle is completed first; what did not fit meanwhile is counted; no line is torn."""
        disk = Disk(room=7)
        sink = self.sink(disk)
        for number in range(10):
            sink.write(b"line%d\n" % number, 1)
        self.assertEqual((sink.problem, sink.blocked), ("No space left on device", True))
        self.assertEqual(sink.dropped_failed, 6)
        self.assertGreater(sink.failures, 0)
        disk.room = 1000
        sink.write(b"after\n", 1)
        self.assertEqual(disk.taken, b"line0\nline1\nline2\nline3\nafter\n")
        self.assertEqual((sink.problem, sink.blocked, sink.bytes), ("", False, len(disk.taken)))

    def test_one_batch_larger_than_what_may_wait(self) -> None:
        """The oldest whole lines wait, the rest is counted as dropped."""
        disk = Disk(room=3, error=errno.EAGAIN)
        sink = self.sink(disk)
        sink.write(b"".join(b"line%d\n" % number for number in range(8)), 8)
        self.assertEqual((sink.dropped_blocked, sink.dropped_failed), (5, 0))
        disk.room = 1000
        sink.flush()
        self.assertEqual(disk.taken, b"line0\nline1\nline2\n")

    def test_a_single_long_line(self) -> None:
        """Once begun, a line longer than the tail is kept to its end."""
        disk = Disk(room=3, error=errno.EAGAIN)
        sink = self.sink(disk)
        sink.write(b"x" * 50 + b"\nnext\n", 2)
        disk.room = 1000
        sink.flush()
        self.assertEqual(disk.taken, b"x" * 50 + b"\n")
        self.assertEqual(sink.dropped_blocked, 1)

    def test_memory_is_bounded(self) -> None:
        """However long nobody reads, no more than the tail waits."""
        sink = self.sink(Disk(room=0, error=errno.EAGAIN), tail_bytes=1000)
        for _ in range(1000):
            sink.write(b"x" * 99 + b"\n", 1)
        self.assertEqual((len(sink._tail), sink.dropped_blocked, sink.failures), (1000, 990, 0))

    def test_a_reader_that_is_gone(self) -> None:
        """EPIPE: what waited is lost and counted; the sink goes on taking lines."""
        disk = Disk(room=0, error=errno.EPIPE)
        sink = self.sink(disk)
        sink.write(b"a\nb\n", 2)
        self.assertEqual((sink.dropped_failed, sink.blocked, sink.problem), (2, False, "Broken pipe"))

    def test_other_errors(self) -> None:
        """A read-only or broken disk is like a full one."""
        for number in (errno.EROFS, errno.EIO, errno.EDQUOT, errno.EFBIG):
            disk = Disk(room=0, error=number)
            sink = self.sink(disk)
            sink.write(b"line\n", 1)
            self.assertEqual((sink.problem, sink.failures), (os.strerror(number), 1))
            disk.room = 100
            sink.flush()
            self.assertEqual((disk.taken, sink.problem), (b"line\n", ""))

    def test_close_counts_what_is_left(self) -> None:
        """Lines that cannot be written at the end are dropped and counted."""
        disk = Disk(room=0)
        sink = self.sink(disk)
        sink.write(b"a\nb\n", 2)
        sink.close()
        self.assertEqual(sink.dropped_failed, 2)


class PipeTests(SynchronousTestCase):
    """Real pipes and sockets."""

    def setUp(self) -> None:
        """A small pipe."""
        self.reader, self.writer = os.pipe()
        self.addCleanup(self.shut)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)

    def shut(self) -> None:
        """Close what is still open."""
        for fd in (self.reader, self.writer):
            try:
                os.close(fd)
            except OSError:
                pass                        # the test closed it

    def test_a_full_pipe(self) -> None:
        """Writing does not wait, and the descriptor that we were given stays a blocking one."""
        sink = Sink(self.writer, tail_bytes=10_000)
        self.addCleanup(sink.close)
        room = fcntl.fcntl(self.writer, fcntl.F_GETPIPE_SZ)
        line = b"x" * 999 + b"\n"
        count = room // 1000 + 100
        for _ in range(count):
            sink.write(line, 1)
        self.assertTrue(sink.blocked)
        self.assertGreater(sink.dropped_blocked, 0)
        self.assertFalse(fcntl.fcntl(self.writer, fcntl.F_GETFL) & os.O_NONBLOCK)
        got = os.read(self.reader, 1 << 21)
        sink.flush()
        got += os.read(self.reader, 1 << 21)
        self.assertEqual(set(got.split(b"\n")), {line[:-1], b""})
        self.assertEqual(got.count(b"\n") + sink.dropped_blocked, count)

    def test_a_reader_that_hangs_up(self) -> None:
        """No signal, no exception: the lines are counted."""
        sink = Sink(self.writer)
        self.addCleanup(sink.close)
        os.close(self.reader)
        sink.write(b"line\n", 1)
        self.assertEqual((sink.dropped_failed, sink.problem), (1, "Broken pipe"))

    def test_a_named_pipe_without_a_reader(self) -> None:
        """Lines wait until somebody reads; when the reader goes, the next one is found."""
        path = self.mktemp()
        os.mkfifo(path)
        sink = Sink(path)
        self.addCleanup(sink.close)
        sink.write(b"one\n", 1)
        self.assertTrue(sink.blocked)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        sink.write(b"two\n", 1)
        self.assertEqual(os.read(reader, 100), b"one\ntwo\n")
        os.close(reader)
        sink.write(b"lost\n", 1)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        sink.write(b"three\n", 1)
        self.assertEqual((os.read(reader, 100), sink.dropped_failed), (b"three\n", 1))

    def test_a_socket(self) -> None:
        """What a service manager gives as standard output is a socket; it too is not waited for."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            sink = Sink(ours.fileno(), tail_bytes=1 << 16)
            sink.write(b"line\n", 1)
            self.assertEqual(theirs.recv(100), b"line\n")
            for _ in range(1000):
                sink.write(b"x" * 9_999 + b"\n", 1)
            self.assertTrue(sink.blocked)
            self.assertGreater(sink.dropped_blocked, 0)
            theirs.close()
            sink.close()

    def test_a_redirect(self) -> None:
        """A file that standard output was sent to keeps one position for all who share it."""
        path = self.mktemp()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.addCleanup(os.close, fd)
        sink = Sink(fd)
        sink.write(b"one\n", 1)
        os.write(fd, b"two\n")
        sink.write(b"three\n", 1)
        sink.close()
        self.assertEqual(read(path), b"one\ntwo\nthree\n")
        self.assertEqual(sink.reopen(), "")

    def test_a_terminal_of_another_user(self) -> None:
        """Where /proc refuses a second opening, room is asked for before each write."""
        self.assertEqual(_write_if_room(self.writer, b"x" * 10_000), 4096)
        self.assertRaises(BlockingIOError, _write_if_room, self.writer, b"x")
