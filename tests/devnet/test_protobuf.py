"""Protocol Buffers: what is written is read back, and nothing else is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.devnet.protobuf import ProtobufError, parse_message, write_bytes, write_number


@given(field=st.integers(1, 2**29 - 1), value=st.integers(1, 2**64 - 1), data=st.binary(min_size=1, max_size=300))
def test_what_is_written_is_read(field: int, value: int, data: bytes) -> None:
    """Numbers and bytes come back, in their order, of repeated ones the last."""
    fields = parse_message(write_number(field, value) + write_bytes(field + 1, b"first") + write_bytes(field + 1, data))
    assert (fields.number(field), fields.bytes(field + 1)) == (value, data)
    assert fields.all_bytes(field + 1) == [b"first", data]


@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    """No bytes make the reader fail in any other way."""
    try:
        parse_message(data)
    except ProtobufError:
        return


@pytest.mark.parametrize(
    "data",
    [b"\x08", b"\x08\xff", b"\x0a\x05abc", b"\x00\x01", b"\x09" + bytes(8), b"\x0d" + bytes(4), b"\x08" + b"\xff" * 10],
    ids=["no value", "half a number", "too short", "field 0", "fixed64", "fixed32", "too large"],
)
def test_what_is_no_message(data: bytes) -> None:
    """Truncated bytes, field 0, numbers above 64 bits and wire types that no transaction uses are errors."""
    with pytest.raises(ProtobufError):
        parse_message(data)


def test_fields_have_types() -> None:
    """A number is no bytes and bytes are no number; what is absent is empty; a text must be UTF-8."""
    fields = parse_message(write_number(1, 5) + write_bytes(2, b"\xff"))
    assert (fields.number(3), fields.bytes(3), fields.message(3).pairs) == (0, b"", ())
    for wrong in (lambda: fields.bytes(1), lambda: fields.number(2), lambda: fields.text(2)):
        with pytest.raises(ProtobufError):
            wrong()


def test_zero_is_not_written() -> None:
    """Numbers that are 0 and empty bytes are left out, as proto3 has it."""
    assert write_number(1, 0) + write_bytes(2, b"") == b""
