"""How the control routes read their input: every field checked for type and range, and named when it is wrong."""

import base64
import binascii
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from tallygate.devnet.faults import FAULT_NAMES, FaultOrder
from tallygate.devnet.identity import derive_address, is_address, is_public_key

COUNT_LIMIT = 1_000_000
OFFSET_LIMIT_S = 10 * 365 * 24 * 3600
SIZE_LIMIT_BYTES = 64 * 1024 * 1024
STEPS_LIMIT = 10_000
ORDER_FIELDS = frozenset(FaultOrder.__dataclass_fields__)


class ControlError(Exception):
    """A control's input is wrong.

    Attributes:
        name: The field.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}")
        self.name = name


def check_names(fields: Mapping[str, Any], known: AbstractSet[str]) -> None:
    """Refuses fields that nobody knows."""
    for name in fields:
        if name not in known:
            raise ControlError(name, f"is unknown; known are {', '.join(sorted(known))}")


def read_order(fields: Mapping[str, Any]) -> FaultOrder:
    """Reads one fault; with a probability it acts until it is deleted, unless it says how often."""
    name = fields.get("fault")
    if not isinstance(name, str) or name not in FAULT_NAMES:
        raise ControlError("fault", f"must be one of {', '.join(FAULT_NAMES)}")
    probability = read_probability(fields)
    default = FaultOrder(name)
    times = None if "times" not in fields and probability < 1 else _read_times(fields)
    return FaultOrder(
        fault=name,
        times=times,
        after_frames=read_int(fields, "after_frames", default.after_frames, 0, COUNT_LIMIT),
        usage=_read_usage(fields),
        count=read_int(fields, "count", default.count, 1, COUNT_LIMIT),
        message=read_text(fields, "message"),
        location=_read_location(fields),
        retry_after_s=_read_optional(fields, "retry_after_s"),
        probability=probability,
        offset_s=read_int(fields, "offset_s", default.offset_s, -OFFSET_LIMIT_S, OFFSET_LIMIT_S),
        delay_ms=read_int(fields, "delay_ms", default.delay_ms, 0, COUNT_LIMIT),
        size_bytes=read_int(fields, "size_bytes", default.size_bytes, 0, SIZE_LIMIT_BYTES),
        for_ms=_read_optional(fields, "for_ms"),
    )


def read_script(fields: Mapping[str, Any]) -> list[FaultOrder | None]:
    """Reads a script: a list of faults by name, or with their fields, or null for a call that meets none."""
    steps = fields["script"]
    if not isinstance(steps, list) or len(steps) > STEPS_LIMIT:
        raise ControlError("script", f"must be a list of at most {STEPS_LIMIT} steps")
    return [_read_step(f"script[{index}]", step) for index, step in enumerate(steps)]


def read_public_key(fields: Mapping[str, Any]) -> bytes | None:
    """Reads `pubkey`."""
    text = read_text(fields, "pubkey")
    if text is None:
        return None
    try:
        public_key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        public_key = b""
    if not is_public_key(public_key):
        raise ControlError("pubkey", "must be base64 of a compressed secp256k1 public key")
    return public_key


def read_address(fields: Mapping[str, Any], public_key: bytes | None) -> str:
    """Reads `address`, or derives it from the key; where both are given they must agree."""
    address = read_text(fields, "address")
    derived = derive_address(public_key) if public_key is not None else None
    if address is None and derived is None:
        raise ControlError("address", "or pubkey must be given")
    if address is not None and not is_address(address):
        raise ControlError("address", "must be a gonka1… address with a right checksum")
    if address is not None and derived is not None and address != derived:
        raise ControlError("address", f"does not belong to pubkey, whose address is {derived}")
    return derived or address or ""


def read_addresses(fields: Mapping[str, Any], name: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """Reads a list of addresses."""
    if name not in fields:
        return otherwise
    values = fields[name]
    if not isinstance(values, list) or not all(isinstance(value, str) and is_address(value) for value in values):
        raise ControlError(name, "must be a list of gonka1… addresses with right checksums")
    return tuple(values)


def read_texts(fields: Mapping[str, Any], name: str, otherwise: dict[str, str]) -> dict[str, str]:
    """Reads an object of texts."""
    value = fields.get(name, otherwise)
    if not isinstance(value, dict) or not all(isinstance(member, str) for member in value.values()):
        raise ControlError(name, "must be an object of texts")
    return dict(value)


def read_probability(fields: Mapping[str, Any]) -> float:
    """Reads `probability`."""
    value = fields.get("probability", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ControlError("probability", "must be a number from 0 to 1")
    return float(value)


def read_text(fields: Mapping[str, Any], name: str) -> str | None:
    """Reads a text that may be absent."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ControlError(name, "must be a text")
    return value


def read_bool(fields: Mapping[str, Any], name: str) -> bool | None:
    """Reads true or false, or nothing."""
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise ControlError(name, "must be true or false")
    return value


def read_int(fields: Mapping[str, Any], name: str, otherwise: int, low: int, high: int) -> int:
    """Reads a whole number within bounds."""
    if name not in fields:
        return otherwise
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ControlError(name, f"must be a whole number from {low} to {high}")
    return value


def _read_step(where: str, step: object) -> FaultOrder | None:
    if step is None:
        return None
    fields = {"fault": step} if isinstance(step, str) else step
    if not isinstance(fields, dict):
        raise ControlError(where, "must be a fault's name, an object, or null")
    try:
        check_names(fields, ORDER_FIELDS - {"times", "probability"})
        return read_order(fields)
    except ControlError as error:
        raise ControlError(f"{where}.{error.name}", str(error).partition(" ")[2]) from error


def _read_times(fields: Mapping[str, Any]) -> int | None:
    if "times" in fields and fields["times"] is None:
        return None
    return read_int(fields, "times", 1, 0, COUNT_LIMIT) or None


def _read_optional(fields: Mapping[str, Any], name: str) -> int | None:
    return None if fields.get(name) is None else read_int(fields, name, 0, 0, COUNT_LIMIT)


def _read_usage(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    usage = fields.get("usage")
    if usage is not None and not isinstance(usage, dict):
        raise ControlError("usage", "must be an object or null")
    return usage


def _read_location(fields: Mapping[str, Any]) -> str:
    location = read_text(fields, "location") or FaultOrder.location
    if not (location.isascii() and location.isprintable()):
        raise ControlError("location", "must be a URL in ASCII")
    return location
