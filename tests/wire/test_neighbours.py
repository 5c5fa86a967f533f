"""Frames that tell the neighbours where an address is."""

from __future__ import annotations

import socket
import struct

from twisted.trial.unittest import SynchronousTestCase

from voltgw.wire.neighbours import announcements

MAC = bytes.fromhex("020000000001")


class AnnouncementTests(SynchronousTestCase):
    def test_arp(self) -> None:
        """A request and a reply to everybody, from the address and for the address (RFC 5227 3)."""
        request, reply = announcements(MAC, "192.0.2.10")
        address = socket.inet_aton("192.0.2.10")
        for frame, operation in ((request, 1), (reply, 2)):
            self.assertEqual(frame[:14], b"\xff" * 6 + MAC + b"\x08\x06")
            self.assertEqual(frame[14:22], struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation))
            self.assertEqual((frame[22:28], frame[28:32], frame[38:42]), (MAC, address, address))

    def test_a_neighbour_advertisement(self) -> None:
        """To all nodes, with a hop limit of 255, the override flag, the target's MAC address, and a good checksum."""
        (frame,) = announcements(MAC, "2001:db8::10")
        packed = socket.inet_pton(socket.AF_INET6, "2001:db8::10")
        self.assertEqual(frame[:14], bytes.fromhex("333300000001") + MAC + b"\x86\xdd")
        header, body = frame[14:54], frame[54:]
        self.assertEqual((header[4:8], header[8:24], header[24:40]),
                         (struct.pack("!HBB", len(body), 58, 255), packed, socket.inet_pton(socket.AF_INET6, "ff02::1")))
        self.assertEqual((body[0], body[4:8], body[8:24], body[24:]), (136, b"\x20\0\0\0", packed, b"\x02\x01" + MAC))
        words = header[8:40] + struct.pack("!II", len(body), 58) + body
        total = sum(struct.unpack(f"!{len(words) // 2}H", words))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        self.assertEqual(total, 0xFFFF)         # RFC 1071: with the checksum in it, all ones
