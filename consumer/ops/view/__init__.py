"""The page and the terminal, both from one view of ``/status``."""
