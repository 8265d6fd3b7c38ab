"""Read the text of a configuration file, JSON or YAML, as plain values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from i2i_core import strict
from i2i_core.errors import ConfigError

if TYPE_CHECKING:
    import yaml

FIX = "Give a config.json that train.py wrote, or a part of one; docs/methods.md shows both ways to write it."
MOST_BYTES = 1 << 20
"""Bytes of a configuration file."""
YAML = (".yaml", ".yml")
"""Endings of YAML files; all other files are JSON."""
SCALARS = {
    "null": (r"~|null|", "~n"),
    "bool": (r"true|false", "tf"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
}
"""Patterns of YAML 1.2's scalars other than strings, with the characters that each begins with.

PyYAML follows YAML 1.1, where `off` is false, `2:8` is 128 and `2e-4` is a string."""


def parsed(text: str | bytes, where: str) -> dict[str, Any]:
    """Read the values of a configuration file, by name.

    Args:
        where: the file's name; its ending tells JSON from YAML, and messages begin with it.

    Raises:
        ConfigError: the text is not of that language, gives a name twice, or holds no values by name.
    """
    language = "YAML" if where.endswith(YAML) else "JSON"
    try:
        values = _yaml(text) if language == "YAML" else strict.loads(text, MOST_BYTES, finite=False)
    except (ValueError, RecursionError) as error:
        raise ConfigError(where, f"text that is not {language} ({error})", "a saved configuration", FIX) from None
    if not isinstance(values, dict):
        raise ConfigError(where, f"a {type(values).__name__}", "a saved configuration: values by name", FIX)
    return values


def _yaml(text: str | bytes) -> Any:
    """Read YAML as strictly as JSON: one document, no tags, no aliases. Raise ValueError for anything else."""
    import yaml  # late: only programs read such files

    if len(text) > MOST_BYTES:
        raise ValueError(f"{len(text):,} bytes, over the limit of {MOST_BYTES:,}")

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str | None, list[Any]] = {}  # noqa: RUF012 - PyYAML's own name and form

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"an alias, *{event.anchor}; write the value out")
            if event.tag:
                raise ValueError(f"a tag, {event.tag}; write the value alone")
            return super().compose_node(parent, index)

    def mapping(loader: Loader, node: yaml.MappingNode) -> dict[str, Any]:
        return strict.once((loader.construct_object(k, True), loader.construct_object(v, True)) for k, v in node.value)

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    for name, (pattern, first) in SCALARS.items():
        begins = [*first, *([""] if name == "null" else [])]
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"(?:{pattern})$"), begins)
    try:
        values = yaml.load(text, Loader)
        strict.check(values, finite=False)
        return values
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
