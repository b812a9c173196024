"""Errors that a person reads: what happened, where, and what to do; shown without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong; ends the command with ``exit_code``."""

    exit_code = 1


class ConfigError(UserError):
    """The configuration is wrong: one line for each mistake."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
