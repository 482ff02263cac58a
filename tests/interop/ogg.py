"""Packets of Opus as an Ogg file (RFC 3533, RFC 7845), for a decoder that takes files."""

import struct


def _table():
    """Of the polynomial 0x04c11db7, not reflected (RFC 3533 §6)."""
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


TABLE = _table()


def _page(number, flags, position, packet):
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    head = struct.pack("<4sBBQIII", b"OggS", 0, flags, position, 1, number, 0)
    page = bytearray(head + bytes([len(lacing)]) + lacing + packet)
    check = 0
    for byte in page:
        check = (check << 8 ^ TABLE[check >> 24 ^ byte]) & 0xFFFFFFFF
    page[22:26] = struct.pack("<I", check)
    return bytes(page)


def opus_file(packets, samples):
    """Mono packets of so many samples at 48,000 Hz each, one on each page."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 0, 48000, 0, 0)
    tags = struct.pack("<8sI5sI", b"OpusTags", 5, b"tests", 0)
    pages = [_page(0, 2, 0, head), _page(1, 0, 0, tags)]
    for number, packet in enumerate(packets, 1):
        flags = 4 if number == len(packets) else 0
        pages.append(_page(number + 1, flags, number * samples, packet))
    return b"".join(pages)
