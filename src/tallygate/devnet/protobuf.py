"""Protocol Buffers as far as a Cosmos transaction needs them: read strictly; of what is signed, written.

Written from the encoding's documentation, with nothing of the gateway's. A message is read into its fields by number;
what the numbers mean is the caller's business. Only the two wire types that transactions use are known: varint and
length-delimited. Anything else, and whatever ends too early, is no message.
"""

from collections.abc import Iterator
from dataclasses import dataclass

VARINT = 0
DELIMITED = 2
VARINT_BYTES_MAX = 10
UINT64_MAX = 2**64 - 1


class ProtobufError(Exception):
    """Bytes are no message of the wanted shape."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A message's fields, in the order in which they came."""

    pairs: tuple[tuple[int, int | bytes], ...]

    def number(self, field: int) -> int:
        """Gives a number, of repeated ones the last; 0 when it is absent.

        Raises:
            ProtobufError: It is something else.
        """
        found = [value for number, value in self.pairs if number == field]
        if any(isinstance(value, bytes) for value in found):
            raise ProtobufError(f"field {field} is no number")
        return int(found[-1]) if found else 0

    def all_bytes(self, field: int) -> list[bytes]:
        """Gives all values of a field of bytes.

        Raises:
            ProtobufError: One of them is a number.
        """
        found = []
        for number, value in self.pairs:
            if number == field:
                if not isinstance(value, bytes):
                    raise ProtobufError(f"field {field} is a number")
                found.append(value)
        return found

    def bytes(self, field: int) -> bytes:
        """Gives a field of bytes, of repeated ones the last; empty when it is absent."""
        found = self.all_bytes(field)
        return found[-1] if found else b""

    def text(self, field: int) -> str:
        """Gives a field of text.

        Raises:
            ProtobufError: It is not UTF-8.
        """
        try:
            return self.bytes(field).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProtobufError(f"field {field} is no text") from error

    def message(self, field: int) -> "Fields":
        """Gives a message inside; without any fields when it is absent."""
        return parse_message(self.bytes(field))


def parse_message(data: bytes) -> Fields:
    """Reads a message.

    Raises:
        ProtobufError: The bytes are no message, or have a wire type that no transaction uses.
    """
    return Fields(tuple(_iterate(data)))


def write_bytes(field: int, value: bytes) -> bytes:
    """Gives a field of bytes; nothing when it is empty, as proto3 has it."""
    return _write_varint(field << 3 | DELIMITED) + _write_varint(len(value)) + value if value else b""


def write_number(field: int, value: int) -> bytes:
    """Gives a field of a number; nothing when it is 0, as proto3 has it."""
    return _write_varint(field << 3 | VARINT) + _write_varint(value) if value else b""


def _iterate(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        field, wire = tag >> 3, tag & 7
        if not field:
            raise ProtobufError("field 0")
        number, position = _read_varint(data, position)
        if wire == VARINT:
            yield field, number
        elif wire == DELIMITED:
            end = position + number
            if end > len(data):
                raise ProtobufError("unexpected EOF")
            yield field, data[position:end]
            position = end
        else:
            raise ProtobufError(f"wire type {wire}")


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(VARINT_BYTES_MAX):
        if position + index >= len(data):
            raise ProtobufError("unexpected EOF")
        byte = data[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value > UINT64_MAX:
                break
            return value, position + index + 1
    raise ProtobufError("integer overflow")


def _write_varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
