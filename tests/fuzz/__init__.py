"""Any bytes, through every decoder and the core: ``python -m tests.fuzz --inputs 1000000``."""
