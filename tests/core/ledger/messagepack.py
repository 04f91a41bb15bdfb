"""A second, hand-written MessagePack encoder: shortest forms, arrays, integers, text, bytes and nil. Nothing else."""

from __future__ import annotations


def pack(value: object) -> bytes:
    """Return the shortest MessagePack form of a value."""
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        return _pack_integer(value)
    if isinstance(value, str):
        return _pack_text(value.encode())
    if isinstance(value, bytes):
        return _sized(len(value), [(8, 0xC4), (16, 0xC5), (32, 0xC6)]) + value
    assert isinstance(value, (list, tuple))
    size = bytes([0x90 | len(value)]) if len(value) < 16 else _sized(len(value), [(16, 0xDC), (32, 0xDD)])
    return size + b"".join(pack(item) for item in value)


def _pack_integer(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes([value])
    if -32 <= value < 0:
        return bytes([256 + value])
    if value > 0:
        return _sized(value, [(8, 0xCC), (16, 0xCD), (32, 0xCE), (64, 0xCF)])
    for bits, tag in ((8, 0xD0), (16, 0xD1), (32, 0xD2), (64, 0xD3)):
        if value >= -(1 << bits - 1):
            return bytes([tag]) + (value + (1 << bits)).to_bytes(bits // 8, "big")
    raise AssertionError(value)


def _pack_text(text: bytes) -> bytes:
    if len(text) < 32:
        return bytes([0xA0 | len(text)]) + text
    return _sized(len(text), [(8, 0xD9), (16, 0xDA), (32, 0xDB)]) + text


def _sized(number: int, forms: list[tuple[int, int]]) -> bytes:
    for bits, tag in forms:
        if number < 1 << bits:
            return bytes([tag]) + number.to_bytes(bits // 8, "big")
    raise AssertionError(number)
