"""The options of every command, and the settings, loaded when a command needs them."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from consumer.config.loading import Loaded
    from consumer.config.settings import Settings

#: Added to a signal's number: a shell's exit code of a program that a signal ended.
SIGNAL_EXIT = 128
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Options:
    """The options that stand before the command."""

    def __init__(self, config: Path | None, log_level: str | None) -> None:
        self.config = config
        self.log_level = log_level

    def settings(self, *, uploads: bool = True) -> Settings:
        """Load the settings, and set up logging by them. Raise ConfigError.

        Without ``uploads`` the API is not called, and its settings need not be complete.
        """
        return self.loaded(uploads=uploads).settings

    def loaded(self, *, uploads: bool = True) -> Loaded:
        """Do what ``settings`` does, and return the origins of the values, too."""
        from consumer.config.loading import load_with_origins
        from consumer.config.masking import hide_secrets
        from consumer.hiding import known
        from consumer.ops import logs

        loaded = load_with_origins(self.config, uploads=uploads)
        hide_secrets(loaded.settings, known)
        log = loaded.settings.log
        logs.set_up(self.log_level or log.level, log.format)
        return loaded


#: The choices of ``log.level``, repeated here so that ``--help`` need not load the settings.
LEVELS = click.Choice(["debug", "info", "warning", "error"])


def pass_options(function: Callable[..., None]) -> Callable[..., None]:
    """Pass the options to a command as its first argument; they may stand behind it, too."""

    def command(
        options: Options, /, config: Path | None, log_level: str | None, **arguments: object
    ) -> None:
        function(Options(config or options.config, log_level or options.log_level), **arguments)

    functools.update_wrapper(command, function)
    config = click.option("-c", "--config", type=click.Path(path_type=Path), help="Settings file.")
    level = click.option("--log-level", type=LEVELS, help="Lowest level shown.")
    return config(level(click.pass_obj(command)))


class Time(click.ParamType):  # type: ignore[type-arg]  # generic for its stub only
    """A duration back from now, or a day or time."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        if found := re.fullmatch(r"(\d{1,6})([smhd])", text):
            return time.time() - timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds()
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is none: allowed is 90m, 12h, 7d, 2026-11-22, or 2026-11-22T06:00:00Z",
                param,
                ctx,
            )
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
