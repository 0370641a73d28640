"""Header stamps of serialised messages: read and replaced without deserialising a frame.

CDR (https://www.omg.org/spec/DDSI-RTPS, 10.2): four bytes of encapsulation, of which the second
says the byte order; a message that begins with std_msgs/Header goes on with its stamp, int32 s and
uint32 ns.
"""

import struct

from vla_replay.errors import BagError

_BEGIN, _END = 4, 12
_SECOND = 1_000_000_000


def stamp_of(data: bytes) -> int:
    """Return the header's stamp, ns.

    Args:
        data: complete CDR of a message that begins with a header.

    Raises:
        BagError: if it is too short, or not plain CDR.
    """
    seconds, nanoseconds = struct.unpack_from(_form(data), data, _BEGIN)
    return int(seconds) * _SECOND + int(nanoseconds)


def restamped(data: bytes, stamp_ns: int) -> bytes:
    """Return the message with another stamp in its header.

    Raises:
        BagError: if it is too short, or not plain CDR.
        BagError: if the stamp is none that a message can hold.
    """
    form = _form(data)
    try:
        stamp = struct.pack(form, *divmod(stamp_ns, _SECOND))
    except struct.error:
        raise BagError(
            f'stamp of {stamp_ns / 1e9:.3f} s: expected seconds that fit into 32 bits'
        ) from None
    return b''.join((data[:_BEGIN], stamp, data[_END:]))


def _form(data: bytes) -> str:
    if len(data) < _END or data[0] != 0 or data[1] not in (0, 1):
        raise BagError(
            f'message of {len(data)} bytes begins with {data[:4].hex()}: '
            'expected CDR with a header'
        )
    return '<iI' if data[1] else '>iI'
