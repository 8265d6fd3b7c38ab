"""Read the text of a configuration file, JSON or YAML, as plain values."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from i2i_core.errors import ConfigError

if TYPE_CHECKING:
    import yaml

FIX = "Give a config.json that train.py wrote, or a part of one; docs/methods.md shows both ways to write it."
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


def parsed(text: str, where: str) -> dict[str, Any]:
    """Read the values of a configuration file, by name.

    Args:
        where: the file's name; its ending tells JSON from YAML, and messages begin with it.

    Raises:
        ConfigError: the text is not of that language, gives a name twice, or holds no values by name.
    """
    language = "YAML" if where.endswith(YAML) else "JSON"
    try:
        values = _yaml(text) if language == "YAML" else json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ConfigError(where, f"text that is not {language} ({error})", "a saved configuration", FIX) from None
    if not isinstance(values, dict):
        raise ConfigError(where, f"a {type(values).__name__}", "a saved configuration: values by name", FIX)
    return values


def _once(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Make a dictionary from pairs. Raise ValueError for a repeated name, or for one that is no string."""
    names = [name for name, _ in pairs]
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{name!r} as a name; write it in quotes")
        if names.count(name) > 1:
            raise ValueError(f"twice {name!r}")
    return dict(pairs)


def _yaml(text: str) -> Any:
    """Read YAML as strictly as JSON: one document, no tags, no aliases. Raise ValueError for anything else."""
    import yaml  # late: only programs read such files

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
        return _once([(loader.construct_object(k, True), loader.construct_object(v, True)) for k, v in node.value])

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    for name, (pattern, first) in SCALARS.items():
        begins = [*first, *([""] if name == "null" else [])]
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"(?:{pattern})$"), begins)
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
