"""``scm-consumer config``: show the configuration in effect, its JSON schema, an example."""

from __future__ import annotations

import json
import sys

import click

from consumer.commands.options import Options, pass_options


@click.group("config", short_help="The configuration: in effect, its JSON schema, an example.")
def command() -> None:
    """Show the configuration in effect, the JSON schema of the file, or a commented example.

    \b
    Examples:
      scm-consumer config example > scm-consumer.toml
      scm-consumer config show
      scm-consumer config schema > scm-consumer.schema.json
    """


@command.command("show", short_help="The configuration in effect, secrets hidden.")
@pass_options
def show(options: Options) -> None:
    """Show the configuration in effect, as TOML: environment over file over default.

    Secrets are hidden. A comment names the origin of a value that the file or the environment sets.
    A wrong configuration ends this like every command, with exit code 2; but a token may be
    missing.

    \b
    Examples:
      scm-consumer config show
      scm-consumer config show -c line7.toml
    """
    from consumer.config.documents import shown_configuration
    from consumer.config.loading import load_with_origins

    _print(shown_configuration(load_with_origins(options.config, needs_token=False)))


@command.command("schema", short_help="The JSON schema of the file, for editors.")
def schema() -> None:
    """Show the JSON schema of the file, for editors and checks.

    Editors with a TOML language server (taplo, Even Better TOML) complete and check a file whose
    first line is: #:schema ./scm-consumer.schema.json

    \b
    Example:
      scm-consumer config schema > scm-consumer.schema.json
    """
    from consumer.config.documents import json_schema

    _print(json.dumps(json_schema(), indent=2) + "\n")


@command.command("example", short_help="A commented file with every key.")
def example() -> None:
    """Show a commented file with every key: those to be set, and the others at their defaults.

    \b
    Example:
      scm-consumer config example > scm-consumer.toml
    """
    from consumer.config.documents import example as text

    _print(text())


def _print(text: str) -> None:
    sys.stdout.write(text)
