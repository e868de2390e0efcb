"""The boxes of an mp4 file (ISO/IEC 14496-12), as far as they are moved."""

from collections.abc import Iterator
import struct

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def faststart(data: bytes) -> bytes:
  """An mp4 with its index, the box moov, in front of its pictures.

  Args:
    data: an mp4 of our own encoder: its boxes are ftyp, what may be free, mdat
      and moov, and its offsets have 32 or 64 bits.
  """
  boxes = [(kind, data[start:end]) for kind, start, _, end in _boxes(
      data, 0, len(data))]
  kinds = [kind for kind, _ in boxes]
  at = kinds.index(b"moov")
  if at < kinds.index(b"mdat"):
    return data
  moov = bytearray(boxes.pop(at)[1])
  _shift(moov, 0, len(moov), len(moov))
  first = boxes.pop(0)[1]
  return b"".join([first, bytes(moov), *(box for _, box in boxes)])


def _boxes(data: bytes | bytearray, start: int, end: int
           ) -> Iterator[tuple[bytes, int, int, int]]:
  """Yields (kind, start, start of its content, end) of the boxes in a span."""
  while start < end:
    size, kind = struct.unpack_from(">I4s", data, start)
    head = 8
    if size == 1:
      size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
    yield kind, start, start + head, start + size
    start += size


def _shift(data: bytearray, start: int, end: int, by: int) -> None:
  """Adds `by` to the offsets of all chunks below a box."""
  for kind, _, inside, stop in _boxes(data, start, end):
    if kind in PARENTS:
      _shift(data, inside, stop, by)
    elif kind in (b"stco", b"co64"):
      count = struct.unpack_from(">I", data, inside + 4)[0]
      form = f">{count}{'I' if kind == b'stco' else 'Q'}"
      struct.pack_into(form, data, inside + 8, *(
          n + by for n in struct.unpack_from(form, data, inside + 8)))
