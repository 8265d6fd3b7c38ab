"""Write the model card of a generator: README.md, with the header that the hub reads.

Names come from anybody, and the hub shows a card as a page: every name is escaped, for YAML, Markdown and HTML.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from i2i_core.checkpoints.checkpoint import About
from i2i_core.config.run import TrainConfig
from i2i_core.credentials import redacted
from i2i_core.methods.base import Method
from i2i_core.names import printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]#!|~:@])")
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")


@dataclass(frozen=True)
class Measured:
    """Hold a metric of the card: value, images measured, which direction is better, definition, and of what."""

    name: str
    value: float
    images: int = 0
    better: str = ""
    definition: str = ""
    of: str = ""


def text(value: Any) -> str:
    """Escape a name for Markdown that becomes HTML: it stays the text that it is, on one line."""
    plain = printable(redacted(str(value)))
    return _SPECIAL.sub(r"\\\1", html.escape(plain, quote=False))


def card(
    about: About,
    config: TrainConfig,
    metrics: Sequence[Measured],
    pictures: Mapping[str, tuple[bytes, str]],
    parameters: int,
    method: Method[Any],
) -> str:
    """Write the card.

    Args:
        about: where the generator comes from.
        config: its configuration, without places.
        metrics: as they were measured.
        pictures: by name, the file and what it shows.
        parameters: numbers in its networks.
        method: its method.
    """
    lines = [*_header(about, method), "", f"# {text(about.run)}", "", _first(about, method), ""]
    for name, (_, words) in pictures.items():
        lines += [f"![{text(words)}]({name})", "", f"*{text(words[:1].upper() + words[1:])}.*", ""]
    lines += ["## Use", "", *_use(method), "", "## Training", "", *_training(about, config, parameters), ""]
    lines += ["## Metrics", "", *_metrics(metrics), "", "## Licence", "", *_licence(about), ""]
    return "\n".join(lines)


def _header(about: About, method: Method[Any]) -> list[str]:
    """Write the header, in YAML."""
    known = _IDENTIFIER.fullmatch(about.licence)
    licence = [f"license: {about.licence}"] if known else []
    if about.licence and not known:
        licence = ["license: other", f"license_name: {_yaml(about.licence)}"]
    task = "image-to-image" if method.inputs else "unconditional-image-generation"
    tags = ", ".join(map(_yaml, ("gan", about.method)))
    return ["---", "library_name: i2i", f"pipeline_tag: {task}", f"tags: [{tags}]", *licence, "---"]


def _yaml(value: str) -> str:
    """Write a text as YAML: as JSON, which YAML contains."""
    return json.dumps(printable(value)).replace("<", "\\u003c").replace(">", "\\u003e")


def _first(about: About, method: Method[Any]) -> str:
    made = ", ".join(f"{name} ({role})" for name, role in method.outputs.items())
    taken = ", ".join(f"{name} ({role})" for name, role in method.inputs.items()) or "codes alone"
    controls = f" Controls: {text(', '.join(method.controls))}." if method.controls else ""
    return f"A generator of the method {text(about.method)}: it makes {text(made)} of {text(taken)}.{controls}"


def _use(method: Method[Any]) -> list[str]:
    call = "model.translate(image)  # a PIL image, an array, or a batch (n, C, H, W)"
    return [
        "```python",
        "from i2i_core.translation.model import from_pretrained",
        "",
        "model = from_pretrained('OWNER/NAME')  # this repository, or a folder that holds its files",
        f"made = {call if method.inputs else 'model.generate(8)'}",
        "```",
        "",
        "The files are data alone: safetensors, JSON and pictures. Their checksums are checked when they are read.",
    ]


def _training(about: About, config: TrainConfig, parameters: int) -> list[str]:
    data = ", ".join(uri or "built-in data" for uri in config.data.uris)
    rows = [
        ("method, preset", f"{about.method}, {about.preset}"),
        ("images trained on", f"{about.images:,}"),
        ("data set", data),
        ("batch", config.training.batch),
        ("parameters", f"{parameters:,}"),
        ("trained by", about.trained_by or "not known"),
        ("written by", about.program),
        ("checkpoint, sha256", about.checkpoint),
    ]
    return ["| | |", "|---|---|", *_rows(rows)]


def _metrics(metrics: Sequence[Measured]) -> list[str]:
    if not metrics:
        return ["None was measured."]
    if not any(metric.definition for metric in metrics):
        return ["| metric | value |", "|---|---|", *_rows((m.name, f"{m.value:.4g}") for m in metrics)]
    head = ["| metric | value | better | images | of | what it is |", "|---|---|---|---|---|---|"]
    return [*head, *_rows((m.name, f"{m.value:.4g}", m.better, m.images, m.of, m.definition) for m in metrics)]


def _rows(rows: Iterable[Sequence[Any]]) -> list[str]:
    return [f"| {' | '.join(map(text, row))} |" for row in rows]


def _licence(about: About) -> list[str]:
    stated = text(about.licence) if about.licence else "Nobody stated one; without one, nobody may use the weights"
    lines = [f"{stated}."]
    for one in about.began_with:
        under = f", under {text(one.licence)}" if one.licence else ""
        began = f"Training began with weights that others trained: {text(one.name)}{under}."
        lines += ["", f"{began} Their licence applies."]
    return lines
