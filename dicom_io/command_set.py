"""Command sets (PS3.7 section 6.3.1 and annex E): the few elements that we read, and the responses without a data set."""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Mapping

from dicom_io.pdu import AbortReason, MalformedPdu

NO_DATA_SET = 0x0101
"""Command Data Set Type (0000,0800) of a message without a data set; any other value means that one follows."""
RESPONSE = 0x8000
"""Set in the Command Field of every response."""
MAXIMUM_COMMAND_BYTES = 64 << 10

_ELEMENT = struct.Struct("<HHL")
_US = struct.Struct("<H")
_CLASS_UID, _REQUESTED_CLASS_UID, _FIELD, _MESSAGE_ID, _RESPONDED_TO = 0x0002, 0x0003, 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _INSTANCE_UID, _REQUESTED_INSTANCE_UID = 0x0800, 0x0900, 0x1000, 0x1001


class CommandField(enum.IntEnum):
    """The commands that we name (PS3.7 table E.1-1)."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_ACTION_RQ = 0x0130
    C_CANCEL_RQ = 0x0FFF


class CommandStatus(enum.IntEnum):
    """Statuses that refuse a command whatever its service (PS3.7 annex C)."""

    SOP_CLASS_NOT_SUPPORTED = 0x0122
    UNRECOGNIZED_OPERATION = 0x0211


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command set, as far as a receiver must know it; UIDs as they were sent, padding and all."""

    field: int
    message_id: int
    has_data_set: bool
    sop_class_uid: bytes
    """Affected, or else Requested, SOP Class UID."""
    sop_instance_uid: bytes
    """Affected, or else Requested, SOP Instance UID."""


def parse_command(encoded: bytes | bytearray) -> Command:
    """Return a command set; raises MalformedPdu where the bytes are none, or lack what every command has."""
    elements = _elements(encoded)
    field = _unsigned(elements, _FIELD)
    return Command(
        field=field,
        message_id=_unsigned(elements, _MESSAGE_ID) if field not in (CommandField.C_CANCEL_RQ,) and not field & RESPONSE else 0,
        has_data_set=_unsigned(elements, _DATA_SET_TYPE) != NO_DATA_SET,
        sop_class_uid=elements.get(_CLASS_UID, b"") or elements.get(_REQUESTED_CLASS_UID, b""),
        sop_instance_uid=elements.get(_INSTANCE_UID, b"") or elements.get(_REQUESTED_INSTANCE_UID, b""),
    )


def uid_text(value: bytes) -> str:
    """Return a UID without its padding; what is not ASCII is replaced, so that no comparison takes it for a UID."""
    return value.decode("ascii", errors="replace").strip("\0 ")


def response(command: Command, status: int) -> bytes:
    """Return the command set that answers `command` with `status` and no data set (PS3.7 tables 9.3-2 and following)."""
    body = b"".join(
        (
            _padded(_CLASS_UID, command.sop_class_uid),
            _short(_FIELD, command.field | RESPONSE),
            _short(_RESPONDED_TO, command.message_id),
            _short(_DATA_SET_TYPE, NO_DATA_SET),
            _short(_STATUS, status),
            _padded(_INSTANCE_UID, command.sop_instance_uid),
        )
    )
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + body


def _elements(encoded: bytes | bytearray) -> dict[int, bytes]:
    """Element number -> value of group 0000, in Implicit VR Little Endian."""
    elements: dict[int, bytes] = {}
    position = 0
    while position < len(encoded):
        if position + _ELEMENT.size > len(encoded):
            raise MalformedPdu(AbortReason.INVALID_PARAMETER, "command set: expected an element, got bytes that end within its tag")
        group, number, length = _ELEMENT.unpack_from(encoded, position)
        position += _ELEMENT.size
        if group != 0 or position + length > len(encoded):
            raise MalformedPdu(AbortReason.INVALID_PARAMETER, "command set: expected elements of group 0000, got another or half of one")
        elements[number] = bytes(encoded[position : position + length])
        position += length
    return elements


def _unsigned(elements: Mapping[int, bytes], number: int) -> int:
    value = elements.get(number, b"")
    if len(value) != _US.size:
        got = f"{len(value)} bytes" if number in elements else "none"
        raise MalformedPdu(AbortReason.INVALID_PARAMETER, f"command set: expected (0000,{number:04X}) of 2 bytes, got {got}")
    return int(_US.unpack(value)[0])


def _short(number: int, value: int) -> bytes:
    return _ELEMENT.pack(0, number, 2) + _US.pack(value)


def _padded(number: int, value: bytes) -> bytes:
    if not value:
        return b""
    even = value + b"\0" * (len(value) % 2)
    return _ELEMENT.pack(0, number, len(even)) + even
