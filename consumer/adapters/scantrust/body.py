"""Put a body together from what comes, uncompressed, and no more of it than is wanted."""

from __future__ import annotations

import zlib

_GZIP = 16 + zlib.MAX_WBITS  # zlib's word for a gzip header


class Body:
    """A body as far as it has come, uncompressed; one byte more than ``most`` is enough of it."""

    def __init__(self, most: int, *, zipped: bool) -> None:
        self._most = most
        self._pieces: list[bytes] = []
        self._room = most + 1
        self._unzip = zlib.decompressobj(_GZIP) if zipped else None
        self._members = 0
        self._damage: zlib.error | None = None

    @property
    def is_full(self) -> bool:
        return self._room <= 0

    def add(self, piece: bytes) -> None:
        """Take a piece in."""
        if self._unzip is None:
            self._pieces.append(piece[: self._room])
            self._room -= len(piece)
            return
        while piece and not self.is_full:
            try:
                out = self._unzip.decompress(piece, self._room)
            except zlib.error as damage:
                # What follows a whole member may be anything, and is passed over.
                self._damage = self._damage or (None if self._members else damage)
                return
            self._pieces.append(out)
            self._room -= len(out)
            piece = self._unzip.unconsumed_tail
            if self._unzip.eof:
                piece = self._unzip.unused_data
                self._members += 1
                self._unzip = zlib.decompressobj(_GZIP)

    def content(self) -> tuple[bytes, bool]:
        """Return it, and whether that is all; raise zlib.error if it is damaged."""
        if self._damage is not None:
            raise self._damage
        return b"".join(self._pieces)[: self._most], self._room > 0
