"""Sdist and wheel: the same bits from the same sources (``make release``)."""
