"""Write docs/configuration.md from the settings.

``python -m consumer.config.page > docs/configuration.md``
"""

from __future__ import annotations

import sys
from textwrap import fill

from consumer.adapters.kafka.property_rules import REFUSED_CLIENT_PROPERTIES, USUAL
from consumer.config.documents import TO_SET
from consumer.config.keys import CLIENT, SECTIONS, Key, property_variable, section_text, toml_value

#: A bar inside a cell of a table, in code as well.
BAR = r"\|"

_HEAD = """\
# Configuration

<!-- Written by `make docs` from consumer/config/settings.py: change it there. -->

The settings are one TOML file: `scm-consumer.toml` of the current folder if it is there, else the
file that `-c FILE` names. Begin with an example in which everything is explained, and look at what
is in effect, and from where:

* `scm-consumer config example > scm-consumer.toml` — every key; the ones marked SET are to be
  checked
* `scm-consumer config show` — the configuration in effect, secrets hidden; valid TOML
* `scm-consumer config schema > scm-consumer.schema.json` — the JSON schema of the file. Editors
  with a TOML language server (taplo; Even Better TOML for VS Code) complete, explain and check
  while you type if the first line of the file is `#:schema ./scm-consumer.schema.json`

## Environment over file over default

Every key is also an environment variable: `SCM_`, the section, **two** underscores, the key, in
capitals. A variable wins over the file, and the file over the default.

| value | in the file | in the environment |
| --- | --- | --- |
| text | `group_id = "line7"` | `SCM_KAFKA__GROUP_ID=line7` |
| number | `max_rows = 50` | `SCM_WINDOWS__MAX_ROWS=50` |
| true or false | `keys = true` | `SCM_LOG__KEYS=true` |
| list | `topics = ["a", "b"]` | `SCM_KAFKA__TOPICS=["a", "b"]` (JSON; quote it in a shell) |
| librdkafka property | `"sasl.username" = "line7"` under `[kafka.client]` | \
`SCM_KAFKA__CLIENT__SASL_USERNAME=line7` |

In the file types are strict: a number in quotes is a mistake. An empty variable sets the empty
text. Variables with `SCM_` and no `__` belong to other programs (Kubernetes makes such ones of a
service's name) and are ignored, unless they all but name a key of this one (`SCM_API_TOKEN`).

A wrong configuration ends every command with exit code 2, before anything is contacted. **All
mistakes are told at once**, one line each: the key or variable, its value (never a secret), what is
allowed. What librdkafka finds only when properties meet (a certificate that is none, say) follows
when the client is made, also before anything is contacted.

## Secrets

`api.token`, `schema_registry.password` and librdkafka's secret properties (`sasl.password`,
`ssl.key.password`, `ssl.key.pem`, `ssl.keystore.password`, `sasl.oauthbearer.client.secret`, ...),
and a user and password in `api.proxy`, show as `(hidden)` wherever settings are shown:
`config show`, `/status`, errors. Keep them out of the file: in the environment, or, for the token,
in a file of its own (`api.token_file`), which is read again when it changes, so that a token can be
replaced without a restart. With both, the file is taken.

Plain `http://` to the API is refused for other than loopback, since it would show the token to the
network; `api.allow_plain_http = true` allows it, as between containers.
"""

_CLIENT = """\
## librdkafka properties

`[kafka.client]` takes every property of
[librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md), for the
consumer and the dead-letter producer alike; librdkafka itself checks names and values. Names with
dots stand in quotes; without them, `sasl.username = "line7"` is read the same. In the environment
`_` stands for `.`: `{variable}`.
All properties that are text, numbers or truth values can be set this way: no name of theirs holds
an underscore, except `log_level`, for which `log.level` is used.

Usually needed:

| property | value |
| --- | --- |
{usual}

`sasl.*` and `ssl.*` have no effect while `security.protocol` is `plaintext`, its default, so that
combination is refused. Kerberos (`GSSAPI`) takes a librdkafka that was built with it.

Refused, since they would break a promise or be passed over:

| property | why |
| --- | --- |
{refused}
"""

_TAIL = """\
## Shell completion

Commands, options and their choices complete with Tab after one line in the shell's start file:

| shell | file | line |
| --- | --- | --- |
| bash (4.4 or later) | `~/.bashrc` | `eval "$(_SCM_CONSUMER_COMPLETE=bash_source scm-consumer)"` |
| zsh | `~/.zshrc` | `eval "$(_SCM_CONSUMER_COMPLETE=zsh_source scm-consumer)"` |
| fish | `~/.config/fish/completions/scm-consumer.fish` | \
`_SCM_CONSUMER_COMPLETE=fish_source scm-consumer \\| source` |
"""


def page() -> str:
    """Return the page, in Markdown."""
    client = _CLIENT.format(
        variable=f"{property_variable('sasl.password')}=...",
        usual="\n".join(f"| `{name}` | {about} |" for name, about in USUAL.items()),
        refused="\n".join(
            f"| `{name}` | {why} |" for name, why in REFUSED_CLIENT_PROPERTIES.items()
        ),
    )
    return "\n".join(
        [_HEAD, "## Keys\n", *(_section(section) for section in SECTIONS), client, _TAIL]
    )


def _section(section: str) -> str:
    rows = "\n".join(_row(key) for key in SECTIONS[section].values())
    return f"""\
### `[{section}]`

{fill(section_text(section), 100)}

| key | environment | allowed | default | meaning |
| --- | --- | --- | --- | --- |
{rows}
"""


def _row(key: Key) -> str:
    to_set = "**To set.** " if key.path in TO_SET else ""
    meaning = f"{to_set}{key.field.description}{' Secret.' if key.is_secret else ''}"
    variable, default = f"`{key.variable}`", f"`{toml_value(key.default)}`"
    if key.path == CLIENT:
        variable, default = f"`{key.variable}__...`, see [below](#librdkafka-properties)", "none"
    cells = (f"`{key.name}`", variable, key.allowed, default, meaning)
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
