"""Every key of the configuration, read from the settings for errors, examples and pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from consumer.config.settings import Settings

PREFIX = "SCM_"
#: Where librdkafka's own properties stand: the only table among the keys.
CLIENT = "kafka.client"


@dataclass(frozen=True)
class Key:
    """One key of a section."""

    section: str
    name: str
    field: FieldInfo

    @property
    def path(self) -> str:
        """Return the key with its section, such as ``kafka.topics``."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """Return the environment variable, such as ``SCM_KAFKA__TOPICS``."""
        return f"{PREFIX}{self.section}__{self.name}".upper()

    @property
    def is_list(self) -> bool:
        """Return whether the value is a list of texts."""
        return get_origin(self.field.annotation) is tuple

    @property
    def is_secret(self) -> bool:
        """Return whether the value is never shown."""
        return self.field.annotation is SecretStr

    @property
    def is_text(self) -> bool:
        """Return whether the value stands in quotes."""
        return (
            self.field.annotation in (str, SecretStr)
            or get_origin(self.field.annotation) is Literal
        )

    @property
    def default(self) -> Any:
        """Return the default as a plain value; of a secret the empty text."""
        value = self.field.default
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    @property
    def allowed(self) -> str:
        """Return the allowed values in words."""
        kind, bounds = self.field.annotation, self.field.metadata
        if get_origin(kind) is Literal:
            *most, last = (json.dumps(choice) for choice in get_args(kind))
            return f"{', '.join(most)} or {last}"
        if kind is bool:
            return "true or false"
        if kind in (int, float):
            return ("a whole number" if kind is int else "a number") + _range(bounds)
        some = any(getattr(bound, "min_length", 0) for bound in bounds)
        if self.is_list:
            return f'a list of texts{", at least one" if some else ""}, such as ["a", "b"]'
        if self.path == CLIENT:
            return "a table of texts, numbers, true or false"
        return "text, not empty" if some else "text"


def _range(bounds: list[Any]) -> str:
    low, high, above = (
        next((getattr(bound, name) for bound in bounds if hasattr(bound, name)), None)
        for name in ("ge", "le", "gt")
    )
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if above is not None:
        return f" above {above:g}" + (f", at most {high:g}" if high is not None else "")
    return f", {low:g} or more" if low is not None else ""


def section_model(name: str) -> type[BaseModel]:
    """Return the model of a section."""
    annotation = Settings.model_fields[name].annotation
    assert isinstance(annotation, type)
    return annotation


def section_text(name: str) -> str:
    """Return the description of a section on one line."""
    return " ".join((section_model(name).__doc__ or "").split())


#: The keys by section, in the order of the settings.
SECTIONS: dict[str, dict[str, Key]] = {
    section: {
        name: Key(section, name, field)
        for name, field in section_model(section).model_fields.items()
    }
    for section in Settings.model_fields
}


def property_variable(name: str) -> str:
    """Return the environment variable of a librdkafka property."""
    return f"{PREFIX}{CLIENT.replace('.', '__')}__{name.replace('.', '_')}".upper()


def toml_value(value: Any) -> str:
    """Return a text, number, truth value or list as TOML writes it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    # JSON's texts are TOML's, but for one control character that JSON lets stand.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
