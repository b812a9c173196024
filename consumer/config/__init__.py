"""The configuration: its settings, how they are loaded and checked, and what is told of them."""
