"""TensorBoard's event files, as far as scalars need them: records of TFRecord, each an `Event` in protobuf. Pure.

Written here in a few lines since the image of a `command` has neither TensorBoard nor torch; both formats are frozen.
"""

import struct
from typing import Final

_POLYNOMIAL: Final = 0x82F63B78
_MASK: Final = 0xA282EAD8
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY, _SESSION_LOG = 1, 2, 3, 5, 7
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
_START: Final = 1


def _entry(number: int) -> int:
    for _ in range(8):
        number = (number >> 1) ^ (_POLYNOMIAL if number & 1 else 0)
    return number


_TABLE: Final = tuple(_entry(number) for number in range(256))


def header(time: float) -> bytes:
    """The first record of a file, at `time` in seconds since the epoch."""
    return _record(_field(_WALL_TIME, _DOUBLE, struct.pack("<d", time)) + _text(_FILE_VERSION, b"brain.Event:2"))


def restart(time: float, step: int) -> bytes:
    """Says that training begins again at a step: TensorBoard leaves out what earlier records say of it and later."""
    return _record(_event(time, step) + _text(_SESSION_LOG, _field(1, _VARINT, _varint(_START))))


def scalar(time: float, step: int, name: str, value: float) -> bytes:
    """A metric's value at a step."""
    said = _text(1, name.encode()) + _field(2, _FLOAT, struct.pack("<f", _single(value)))
    return _record(_event(time, step) + _text(_SUMMARY, _text(1, said)))


def _event(time: float, step: int) -> bytes:
    return _field(_WALL_TIME, _DOUBLE, struct.pack("<d", time)) + _field(_STEP, _VARINT, _varint(step))


def _single(value: float) -> float:
    """TensorBoard's values have 32 bits, beyond which there is only infinity."""
    try:
        struct.pack("<f", value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return value


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF)


def _text(field: int, data: bytes) -> bytes:
    return _field(field, _BYTES, _varint(len(data)) + data)


def _field(field: int, kind: int, data: bytes) -> bytes:
    return _varint(field << 3 | kind) + data


def _varint(number: int) -> bytes:
    said = bytearray()
    while number > 0x7F:
        said.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*said, number])
