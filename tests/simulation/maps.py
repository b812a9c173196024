"""A second reader of the settled map in a commit's metadata, written from its description alone."""

from __future__ import annotations

import base64
import zlib


def covered_by(metadata: str, partition: int, base: int) -> list[tuple[int, int]]:
    """Return the half-open ranges of offsets that a map names, in order.

    Empty, if it is no map of this commit.
    """
    words = metadata.split(" ")
    # The second version names the log between the base and the data.
    # the last with a number before the data
    if (words[0], len(words)) not in (("v1", 5), ("v2", 8), ("v2", 9)):
        return []
    if words[1] != str(partition) or words[2] != str(base):
        return []
    if int(words[-1], 16) != zlib.crc32(metadata[: metadata.rindex(" ")].encode()):
        return []
    if words[-2] == "-":
        return []
    data = list(base64.b64decode(words[-2] + "==="[: -len(words[-2]) % 4]))
    at = base
    found: list[tuple[int, int]] = []
    for _ in range(_number(data)):
        at += _number(data)
        length = _number(data)
        found.append((at, at + length))
        at += length
    for byte in data:
        for bit in range(8):
            if byte >> bit & 1:
                if found and found[-1][1] == at:
                    found[-1] = (found[-1][0], at + 1)
                else:
                    found.append((at, at + 1))
            at += 1
    return found


def _number(data: list[int]) -> int:
    """Take an unsigned LEB128 number off the front."""
    number = shift = 0
    while True:
        byte = data.pop(0)
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number


def epoch_of(metadata: str) -> int:
    """Return the leader epoch that a commit names, behind the cluster; -1: none."""
    words = metadata.split(" ")
    _, _, epoch = (words[4] if words[0] == "v2" and len(words) in (8, 9) else "").partition("/")
    return int(epoch) if epoch else -1


def names_nothing(metadata: str) -> bool:
    """Return whether a commit carries no map: nothing, or the log that it is of alone."""
    words = metadata.split(" ")
    return not metadata or (words[0] == "v2" and len(words) in (8, 9) and words[-2] == "-")
