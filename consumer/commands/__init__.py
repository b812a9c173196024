"""The commands: one thin module each, which imports what is heavy only when it runs."""
