"""A long and lossy line between two network namespaces, where the kernel has none of its own (netem): run as a program.

``line NAMESPACE NAMESPACE DELAY_S LOSS BYTES_PER_S``: each namespace gets an interface ``line`` (without an address); what goes into one
comes out of the other that much later, no faster than that, and so large a part of it never. What does not fit into the line and
as much again is lost, too. It prints ``ready`` when both interfaces are there, and ends with its standard input.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque

_SET_INTERFACE = 0x400454ca                 # TUNSETIFF
_PLAIN_PACKETS = 0x0001 | 0x1000            # IFF_TUN, IFF_NO_PI


def interface(namespace: str, number: int) -> int:
    """An interface ``line`` in a namespace; the descriptor of its other side."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = f"vgl{os.getpid() % 10**6}n{number}"
    fcntl.ioctl(fd, _SET_INTERFACE, struct.pack("16sH22x", name.encode(), _PLAIN_PACKETS))
    for command in (("link", "set", name, "netns", namespace), ("-n", namespace, "link", "set", name, "name", "line"),
                    ("-n", namespace, "link", "set", "line", "up")):
        subprocess.run(["ip", *command], check=True)
    return fd


class Direction:
    """What is on its way from one end to the other."""

    def __init__(self, source: int, sink: int, delay_s: float, loss: float, rate: float, seed: int) -> None:
        self.source = source
        self.delay_s = delay_s
        self._sink = sink
        self._loss = loss
        self._rate = rate
        self._most_s = delay_s * 2          # of what waits to enter the line
        self._chance = random.Random(seed)
        self._free_at = 0.0                 # when the line takes one more packet
        self._packets: deque[tuple[float, bytes]] = deque()

    @property
    def due(self) -> float:
        """When something comes out; infinity for nothing."""
        return self._packets[0][0] if self._packets else float("inf")

    def take(self, now: float) -> None:
        """What has come in."""
        for _ in range(64):
            try:
                packet = os.read(self.source, 65536)
            except BlockingIOError:
                return
            enters = max(now, self._free_at)
            if enters - now > self._most_s or self._chance.random() < self._loss:
                continue
            self._free_at = enters + len(packet) / self._rate
            self._packets.append((self._free_at + self.delay_s, packet))

    def bring(self, now: float) -> None:
        """What comes out now."""
        while self._packets and self._packets[0][0] <= now:
            try:
                os.write(self._sink, self._packets.popleft()[1])
            except OSError:
                pass                        # the interface is down: lost as on any line


def main() -> None:
    """The command."""
    one, other, delay_s, loss, rate = sys.argv[1:]
    first, second = interface(one, 0), interface(other, 1)
    directions = [Direction(source, sink, float(delay_s), float(loss), float(rate), seed)
                  for seed, (source, sink) in enumerate(((first, second), (second, first)))]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    poll = select.poll()
    for fd in (0, first, second):
        poll.register(fd, select.POLLIN)
    while True:
        wait_s = min(each.due for each in directions) - time.monotonic()
        ready = dict(poll.poll(max(0.0, min(wait_s, 1.0)) * 1000))
        if 0 in ready:
            return                          # whoever started us has gone, or wants it gone
        now = time.monotonic()
        for each in directions:
            if each.source in ready:
                each.take(now)
            each.bring(now)


if __name__ == "__main__":
    main()
