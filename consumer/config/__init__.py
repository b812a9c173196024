"""The configuration: its settings, their loading and checks, and the pages written from them."""
