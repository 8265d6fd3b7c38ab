"""What was measured, as a table for people and as JSON that says what each number is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from i2i_core.evaluation.samples import CHUNK, Measured
from i2i_core.evaluation.suite import BETTER, DEFINITIONS, Result, Suite
from i2i_core.methods import at_test
from i2i_core.settings import to_dict

JUDGED = {
    "every attribute right": ("accuracy_nothing", "accuracy", "accuracy_real"),
    "taken for the target domain": ("in_target_nothing", "in_target", "in_target_real"),
}
"""What a classifier saw, by the heading of its table: doing nothing, translated, real."""


def as_json(suite: Suite, result: Result, about: Mapping[str, Any]) -> str:
    """`described`, as the text of a file."""
    return json.dumps(described(suite, result, about), indent=1) + "\n"


def described(suite: Suite, result: Result, about: Mapping[str, Any]) -> dict[str, Any]:
    """Each metric with its value, count and definition.

    Args:
        about: what was measured: checkpoint, data, sizes, samples shown.
    """
    family_of = {name: title for title, family in suite.families.items() for name in family.metrics}
    classifier = suite.asked.classifier
    metrics = {
        name: {
            "value": m.value,
            "images": m.count,
            "better": BETTER[name],
            "definition": DEFINITIONS[name.split("/")[0]],
            "family": family_of[name.split("/")[0]],
        }
        for name, m in result.metrics.items()
    }
    return {
        **about,
        **at_test.facts(suite.asked.method.makers, suite.asked.method.at_test),
        "resampling": f"{suite.asked.resizing}; images of the image size as they are",
        "chunk": CHUNK,
        "classifier": to_dict(classifier.info) if classifier else None,
        "families": {title: family.facts() for title, family in suite.families.items()},
        "metrics": metrics,
    }


def warnings(described: Mapping[str, Any]) -> list[str]:
    """What is to be kept in mind of metrics, by what was described."""
    families = described["families"].values()
    of = {name: fact for facts in families for name, fact in facts.items() if isinstance(fact, Mapping)}
    return [f"{name}: {fact['warning']}" for name, fact in of.items() if "warning" in fact]


def table(found: Mapping[str, Measured]) -> str:
    """One line per metric; what the classifier saw stands side by side, one line per attribute."""
    judged = [name for names in JUDGED.values() for name in names]
    lines = [
        f"{name:<24} {m.value:>10.4f}   {m.count:,} images"
        for name, m in found.items()
        if name.split("/")[0] not in judged
    ]
    for heading, names in JUDGED.items():
        parts = [name.partition("/")[2] for name in found if name.split("/")[0] == names[1]]
        if parts:
            lines += ["", f"{heading:<28}" + "".join(f"{word:>14}" for word in ("doing nothing", "translated", "real"))]
        for part in sorted(parts, key=lambda name: not name):
            cells = [found.get(f"{name}/{part}" if part else name) for name in names]
            shown = "".join(f"{m.value if m else float('nan'):>14.3f}" for m in cells)
            lines.append(f"{part or 'all of them':<28}{shown}")
    return "\n".join(lines)
