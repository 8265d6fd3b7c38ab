"""Write what was measured: a table for people, and JSON that defines each number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from i2i_core.evaluation.samples import CHUNK, NOTHING, REAL, Measured, suffixed
from i2i_core.evaluation.suite import BETTER, DEFINITIONS, FAMILIES, METRICS, NOT_ASKED, Result, Suite, better
from i2i_core.methods import at_test
from i2i_core.names import printable
from i2i_core.settings import to_dict

COLUMNS = ("doing nothing", "translated", "real", "images", "better")
FEW = 50
"""Images below which a split says little."""
MOST_REASON = 110
"""Letters of a reason that the screen shows."""


def as_json(suite: Suite, result: Result, about: Mapping[str, Any]) -> str:
    """Write `described` as the text of a file."""
    return json.dumps(described(suite, result, about), indent=1) + "\n"


def described(suite: Suite, result: Result, about: Mapping[str, Any]) -> dict[str, Any]:
    """Describe each metric by its value, count and definition; and say what was not measured and why.

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
    families = {title: family.facts() for title, family in suite.families.items()}
    return {
        **about,
        **at_test.facts(suite.asked.method.makers, suite.asked.method.at_test),
        "resampling": f"{suite.asked.resizing}; images of the image size as they are",
        "chunk": CHUNK,
        "classifier": to_dict(classifier.info) if classifier else None,
        "families": families,
        "metrics": metrics,
        "warnings": [*warnings({"families": families}), *_few(result)],
        "not_measured": suite.not_measured(result.metrics),
    }


def warnings(described: Mapping[str, Any]) -> list[str]:
    """List the warnings of all families: metrics that had too few images, and how many they need."""
    families = described["families"].values()
    of = {name: fact for facts in families for name, fact in facts.items() if isinstance(fact, Mapping)}
    return [f"{name}: {fact['warning']}" for name, fact in of.items() if "warning" in fact]


def _few(result: Result) -> list[str]:
    """Warn where the whole split is so small that one image moves a share by some per cent."""
    count = max((measured.count for measured in result.metrics.values()), default=FEW)
    if count >= FEW:
        return []
    return [f"measured on {count:,} images only, where one image is {1 / count:.0%} of a share: {FEW} or more say more"]


def table(found: Mapping[str, Measured]) -> str:
    """Put metrics into text, a line for each: what doing nothing scores, the translations, real images.

    Below stands which metrics are no better than doing nothing.
    """
    rows: list[tuple[str, ...]] = [("metric", *COLUMNS)]
    for name in _rows(found):
        idle, real = found.get(suffixed(name, NOTHING)), found.get(suffixed(name, REAL))
        by_definition = METRICS[name.split("/")[0]].nothing
        nothing = _number(idle) or ("0" if by_definition.startswith("0") else "")
        own = found.get(name)
        images = f"{own.count:,}" if own else ""
        rows.append((printable(name), nothing, _number(own) or "none", _number(real), images, BETTER[name]))
    if not any(row[3] for row in rows[1:]):
        rows = [(*row[:3], *row[4:]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["   ".join([r[0].ljust(widths[0]), *map(str.rjust, r[1:], widths[1:])]).rstrip() for r in rows]
    if worse := no_better(found):
        lines.append(f"no better than doing nothing: {', '.join(map(printable, worse))}")
    return "\n".join(lines)


def no_better(found: Mapping[str, Measured]) -> list[str]:
    """Name the metrics whose value is no better than that of the untouched inputs."""
    pairs = ((name, m, found.get(suffixed(name, NOTHING))) for name, m in found.items())
    return [name for name, m, idle in pairs if idle and not better(name, m.value, idle.value)]


def unmeasured(why: Mapping[str, str], file: str = "") -> list[str]:
    """Put what was not measured into lines, one for each reason, of long ones the beginning. Leave out what has no
    meaning by definition; name families that cannot measure such data, without their reasons.

    Args:
        why: the reason for each metric or family: `Suite.not_measured`.
        file: the file with the whole reasons; empty: none is written.
    """
    whole = f"{file or '--out FILE.json'} has the"
    names: dict[str, list[str]] = {}
    impossible = [name for name, reason in why.items() if name in FAMILIES and not reason.startswith(NOT_ASKED)]
    for name, reason in why.items():
        if name in impossible:
            continue
        base = name.removesuffix(NOTHING)
        if not (name.endswith(NOTHING) and base in METRICS and METRICS[base].nothing):
            names.setdefault(reason.partition(":")[0] if reason.startswith(NOT_ASKED) else reason, []).append(name)
    asked = names.pop(NOT_ASKED, [])
    lines = [f"not measured: {', '.join(each)}: {_begun(reason, whole)}" for reason, each in names.items()]
    if impossible:
        lines.append(f"not for this method or data: {', '.join(impossible)} ({whole} reasons)")
    return [*lines, f"not asked for: --metrics {' '.join(asked)}"] if asked else lines


def _begun(reason: str, whole: str) -> str:
    """Give a reason; of a long one its first words, and who has the rest."""
    if len(reason) <= MOST_REASON:
        return reason
    return f"{reason[:MOST_REASON].rpartition(' ')[0] or reason[:MOST_REASON]} ... ({whole} rest)"


def _rows(found: Mapping[str, Measured]) -> list[str]:
    """Name the rows of the table: of each metric the whole, then its parts."""
    rows: dict[str, dict[str, None]] = {}
    for name in found:
        base, _, part = name.partition("/")
        for suffix in (NOTHING, REAL):
            if base.endswith(suffix) and base.removesuffix(suffix) in METRICS:
                base = base.removesuffix(suffix)
        rows.setdefault(base, {})[part] = None
    return [f"{base}/{part}" if part else base for base, parts in rows.items() for part in sorted(parts, key=bool)]


def _number(measured: Measured | None) -> str:
    if measured is None:
        return ""
    whole = measured.value.is_integer() and abs(measured.value) >= 1000
    return f"{measured.value:,.0f}" if whole else f"{measured.value:.4f}"
