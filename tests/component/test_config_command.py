"""The output of the configuration's commands, and the page from the same source."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner

from consumer import cli
from consumer.adapters.kafka.property_rules import REFUSED_CLIENT_PROPERTIES
from consumer.commands.options import Options, pass_options
from consumer.config.documents import TO_SET, example, json_schema
from consumer.config.loading import load
from consumer.config.page import page
from consumer.config.settings import Settings

ROOT = Path(__file__).parents[2]
DEFAULTS = json.loads(Settings().model_dump_json())


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    """Return what a command prints; fail if it does not end well, or says anything beside."""
    monkeypatch.setattr(sys, "argv", ["scm-consumer", *arguments])
    cli.main()
    out, err = capsys.readouterr()
    assert err == ""
    return out


def paths(sections: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for section, keys in sections.items():
        for name, value in keys.items():
            yield f"{section}.{name}", value


# -- example -------------------------------------------------------------------------------------


def test_the_example_needs_nothing_but_a_token() -> None:
    Path("scm-consumer.toml").write_text(
        example().replace('token = ""', 'token = "t"', 1), encoding="utf-8"
    )
    expected = json.loads(Settings.model_validate({"api": {"token": "t"}}).model_dump_json())
    assert json.loads(load(None).model_dump_json()) == expected


def test_the_example_holds_every_key_at_its_default() -> None:
    everything = re.sub(r"^#(?=[^\s#])", "", example(), flags=re.MULTILINE)
    assert tomllib.loads(everything) == DEFAULTS
    assert [
        line
        for line in everything.splitlines()
        if line.startswith("#") and not line.startswith("# ")
    ] == []


def test_the_example_breaks_no_word_at_the_end_of_a_line() -> None:
    text = example()
    assert "token sandbox-token." in " ".join(line.removeprefix("# ") for line in text.splitlines())
    assert not re.search(r"^# .*\w-$", text, re.MULTILINE)


def test_the_configuration_is_shown_without_a_token_and_says_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("SCM_")]:
        monkeypatch.delenv(name)
    assert "# no token is set: " in run(monkeypatch, capsys, "config", "show")
    monkeypatch.setenv("SCM_API__TOKEN", "t")
    assert "no token" not in run(monkeypatch, capsys, "config", "show")


def test_in_the_example_just_what_is_marked_is_set_and_stands_first_in_its_section() -> None:
    text = example()
    assert {path for path, _ in paths(tomllib.loads(text))} == {*TO_SET, "kafka.client"}
    for section in re.split(r"^(?=\[)", text, flags=re.MULTILINE)[1:]:
        keys = re.findall(r"^(#?)\w+ = ", section, re.MULTILINE)
        assert keys == sorted(keys)
    for path in TO_SET:
        assert re.search(
            rf"^# SET: (.+\n)(# .+\n)*{path.rpartition('.')[2]} = ", text, re.MULTILINE
        ), path


def test_the_properties_that_the_example_suggests_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = re.sub(r"^#   (?=\")", "", example(), flags=re.MULTILINE)  # where they stand
    Path("ca.pem").write_text("", encoding="utf-8")
    Path("scm-consumer.toml").write_text(
        text.replace("/etc/ssl/kafka-ca.pem", "ca.pem"), encoding="utf-8"
    )
    monkeypatch.setenv("SCM_API__TOKEN", "t")
    assert load(None).kafka.client["sasl.mechanism"] == "SCRAM-SHA-512"


# -- schema --------------------------------------------------------------------------------------


def test_the_schema_is_one_by_the_meta_schema() -> None:
    jsonschema.Draft7Validator.check_schema(json_schema())


def test_the_schema_tells_every_key_with_its_meaning_and_default() -> None:
    told = {
        f"{section}.{name}": value
        for section, keys in json_schema()["properties"].items()
        for name, value in keys["properties"].items()
    }
    assert {path: value["default"] for path, value in told.items()} == dict(paths(DEFAULTS))
    assert all(value["description"] for value in told.values())
    assert {path for path, value in told.items() if value.get("writeOnly")} == {
        "api.token",
        "schema_registry.password",
    }


@pytest.mark.parametrize(
    "text",
    [
        example(),
        re.sub(r"^#(?=[^\s#])", "", example(), flags=re.MULTILINE),
        '[kafka.client]\nsecurity.protocol = "ssl"\n"sasl.username" = "u"\nsocket.timeout.ms = 60\n'
        "x = true\n",
    ],
)
def test_the_schema_takes_what_the_program_takes(text: str) -> None:
    jsonschema.Draft7Validator(json_schema()).validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "[kafkaa]",
        "[kafka]\ntopic = []",
        "[kafka]\ntopics = []",
        "[windows]\nmax_rows = 101",
        "[windows]\nmax_rows = '50'",
        "[windows]\nlinger_seconds = -1",
        "[log]\nlevel = 'trace'",
        "[kafka.client]\n'enable.auto.commit' = true",
        "kafka = 1",
    ],
)
def test_the_schema_refuses_what_the_program_refuses(text: str, tmp_path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(json_schema()).validate(tomllib.loads(text))


# -- show ----------------------------------------------------------------------------------------


def test_show_prints_what_is_in_effect_and_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("line7.toml").write_text(
        '[kafka]\ngroup_id = "line 7"\ntopics = ["a"]\nclient = {sasl.mechanism = "PLAIN"}\n'
        "[windows]\nmax_rows = 50\n",
        encoding="utf-8",
    )
    for variable, value in {
        "SCM_API__TOKEN": "s3cret",
        "SCM_API__PROXY": "http://me:s3cret@proxy:3128",
        "SCM_KAFKA__TOPICS": '["b", "c"]',
        "SCM_KAFKA__CLIENT__SASL_PASSWORD": "s3cret",
        "SCM_KAFKA__CLIENT__SECURITY_PROTOCOL": "sasl_ssl",
        "SCM_LOG__KEYS": "true",
    }.items():
        monkeypatch.setenv(variable, value)
    out = run(monkeypatch, capsys, "config", "show", "-c", "line7.toml")
    assert "s3cret" not in out
    expected = json.loads(json.dumps(DEFAULTS))
    expected["kafka"] |= {
        "group_id": "line 7",
        "topics": ["b", "c"],
        "client": {
            "sasl.mechanism": "PLAIN",
            "sasl.password": "(hidden)",
            "security.protocol": "sasl_ssl",
        },
    }
    expected["windows"]["max_rows"] = 50
    expected["api"] |= {"token": "(hidden)", "proxy": "http://(hidden)@proxy:3128"}
    expected["log"]["keys"] = True
    assert tomllib.loads(out) == expected
    assert dict(re.findall(r'^"?([a-z_.]+)"? = .*?  # (.*)$', out, re.MULTILINE)) == {
        "group_id": "line7.toml",
        "topics": "SCM_KAFKA__TOPICS",
        "sasl.mechanism": "line7.toml",
        "sasl.password": "SCM_KAFKA__CLIENT__SASL_PASSWORD",
        "security.protocol": "SCM_KAFKA__CLIENT__SECURITY_PROTOCOL",
        "max_rows": "line7.toml",
        "token": "SCM_API__TOKEN",
        "proxy": "SCM_API__PROXY",
        "keys": "SCM_LOG__KEYS",
    }


def test_what_show_prints_is_a_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCM_API__TOKEN", "t")
    monkeypatch.setenv("SCM_KAFKA__INSTANCE_ID", 'quote " back \\ line\nbreak \x7f \u00fc')
    Path("scm-consumer.toml").write_text(
        run(monkeypatch, capsys, "config", "show"), encoding="utf-8"
    )
    monkeypatch.delenv("SCM_KAFKA__INSTANCE_ID")
    assert load(None).kafka.instance_id == 'quote " back \\ line\nbreak \x7f \u00fc'


@pytest.mark.parametrize("command", ["example", "schema"])
def test_example_and_schema_need_no_configuration(command: str, tmp_path: Path) -> None:
    Path("scm-consumer.toml").write_text("not TOML", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "consumer.cli", "config", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = example() if command == "example" else json.dumps(json_schema(), indent=2) + "\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


# -- the page ------------------------------------------------------------------------------------


def test_the_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == page(), (
        "run make docs"
    )


def test_the_page_names_every_key_variable_and_refused_property() -> None:
    text = page()
    for path, _ in paths(DEFAULTS):
        section, _, name = path.partition(".")
        assert f"| `{name}` | `SCM_{section.upper()}__{name.upper()}" in text
    for name, why in REFUSED_CLIENT_PROPERTIES.items():
        assert f"| `{name}` | {why} |" in text


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "config", "level"),
    [
        (["-c", "a.toml", "--log-level", "debug", "tell"], "a.toml", "debug"),
        (["tell", "-c", "b.toml", "--log-level", "error"], "b.toml", "error"),
        (["-c", "a.toml", "--log-level", "debug", "tell", "--config", "b.toml"], "b.toml", "debug"),
        (["tell"], "None", "None"),
    ],
)
def test_the_options_may_stand_before_and_after_the_command_where_they_win(
    arguments: list[str], config: str, level: str
) -> None:
    @click.command("tell")
    @pass_options
    def tell(options: Options) -> None:
        click.echo(f"{options.config} {options.log_level}")

    group = click.Group(
        commands={"tell": tell}, params=cli.group.params, callback=cli.group.callback
    )
    done = CliRunner().invoke(group, arguments)
    assert (done.exit_code, done.output) == (0, f"{config} {level}\n")
