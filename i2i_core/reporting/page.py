"""Write the report of runs: one HTML page that shows without other files and without a network.

The page's words and looks are in `run.html`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from PIL import Image

from i2i_core.errors import counted
from i2i_core.program import program_name
from i2i_core.reporting.charts import chart
from i2i_core.reporting.facts import LastEvaluation, RunFacts, differences
from i2i_core.reporting.html import escaped, jpeg_source, picture, table_rows
from i2i_core.storage.retry import StorageError

logger = logging.getLogger(__name__)

MOST_RUNS = 8
"""Runs on a page: as many as there are colours that a person tells apart."""
MOST_GRIDS = 12
"""Grids of a run on a page, evenly chosen; the first and the last are among them."""
GRID_SIDE = 900
"""Pixels of the longer side of a grid on a page, at most; a grid that is higher is cut below."""
NOTHING, REAL = "_nothing", "_real"
"""Ends of the names of metrics that untouched inputs and real images have."""
CLOSED = ("speed", "utilisation", "checkpoint", "diagnosis")
"""Groups of curves that are folded up: they are about the machine, or repeat what others show."""
PAGE = Path(__file__).with_name("run.html")


def page(runs: Sequence[RunFacts]) -> str:
    """Write the report of one run, or of several beside each other, as a page."""
    one = len(runs) == 1
    title = f"{runs[0].name}: {runs[0].config.method}" if one else f"{len(runs)} runs"
    made = f"Written by {program_name()}, {datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC')}."
    colours = "\n".join(
        f"svg .run{n} {{ stroke: var(--run{n}); }} svg polygon.run{n}, svg circle.run{n} {{ fill: var(--run{n}); }} "
        f"span.run{n} {{ background: var(--run{n}); }}"
        for n in range(MOST_RUNS)
    )
    return Template(PAGE.read_text()).substitute(
        title=escaped(title),
        made=escaped(made),
        colours=colours,
        runs=_summary(runs),
        warnings=_warnings(runs),
        configuration_title="What is not as in the preset" if one else "What differs",
        configuration=_configuration(runs),
        metrics=_metrics(runs),
        curves=_curves(runs),
        grids="\n".join(map(_grids, runs)),
        samples="\n".join(map(_samples, runs)),
        times="\n".join(map(_times, runs)),
    )


def _heads(runs: Sequence[RunFacts]) -> str:
    """Give the names of runs as heads of a table's columns, each with its colour."""
    return "".join(f'<th><span class="swatch run{n}"></span>{escaped(run.name)}</th>' for n, run in enumerate(runs))


def _named(run: RunFacts) -> str:
    return f"<h3>{escaped(run.name)}</h3>"


def _summary(runs: Sequence[RunFacts]) -> str:
    lines: list[tuple[str, list[object]]] = [
        ("state", [run.state + (f": {run.reason}" if run.reason else "") for run in runs]),
        ("method, preset", [f"{run.config.method}, {run.config.preset}" for run in runs]),
        ("data", [", ".join(uri or "the built-in glyphs" for uri in run.config.data.uris) for run in runs]),
        ("images trained on", [run.images for run in runs]),
        ("best checkpoint", [_best(run) for run in runs]),
        ("launches", [run.launches for run in runs]),
        ("program", [run.program or "not known" for run in runs]),
        ("folder", [run.run.url for run in runs]),
    ]
    return f"<tr><th></th>{_heads(runs)}</tr>\n" + table_rows(("", [name, *cells]) for name, cells in lines)


def _best(run: RunFacts) -> str:
    if not run.best:
        return "none was measured"
    value = f" {run.best['value']:.4g}" if "value" in run.best else ""
    return f"{run.best['checkpoint']}, by {run.best['metric']}{value}"


def _warnings(runs: Sequence[RunFacts]) -> str:
    """List the signs of divergence that a run met, the warnings of its last evaluation, and what is left out here."""
    lines = []
    for run in runs:
        said = [f"{images:,} images: {text}" for images, _, text in run.events.texts]
        said += [warning for one in run.last.values() for warning in one.get("warnings", [])]
        said += [f"no curves: {run.events.left_out}"] if run.events.left_out else []
        lines += [f"{run.name}: {line}" if len(runs) > 1 else line for line in dict.fromkeys(said)]
    items = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    return f'<h2>Warnings</h2><ul class="warnings">{items}</ul>' if items else ""


def _configuration(runs: Sequence[RunFacts]) -> str:
    if len(runs) == 1:
        lines = runs[0].beside_preset()
        if not lines:
            return "<p>Nothing: every value is the preset's.</p>"
        heads = ["", f"preset {runs[0].config.preset}", "this run"]
        table = table_rows([("head", heads), *(("", [*line]) for line in lines)])
        return f'<div class="wide"><table>{table}</table></div>'
    different = differences(runs)
    if not different:
        return "<p>Nothing: the runs have one configuration.</p>"
    table = f"<tr><th></th>{_heads(runs)}</tr>\n" + table_rows(("", [key, *values]) for key, values in different)
    return f'<div class="wide"><table>{table}</table></div>'


def _metrics(runs: Sequence[RunFacts]) -> str:
    """Give tables of the last evaluations, one for each data set, with what each metric is."""
    parts = [_measured(runs, of) for of in dict.fromkeys(of for run in runs for of in run.last)]
    return "\n".join(parts) or "<p>None was measured.</p>"


def _measured(runs: Sequence[RunFacts], of: str) -> str:
    every = [run.last.get(of, LastEvaluation()) for run in runs]
    names = dict.fromkeys(name for one in every for name in one.get("metrics", {}))
    shown = [name for name in names if not _base(name).endswith((NOTHING, REAL)) or _plain(name) not in names]
    columns = [
        ("doing nothing", [_first(every, _with(name, NOTHING)) for name in shown]),
        *((run.name, [_value(one, name) for name in shown]) for run, one in zip(runs, every, strict=True)),
        ("real images", [_first(every, _with(name, REAL)) for name in shown]),
    ]
    columns = [(head, values) for head, values in columns if any(value != "" for value in values)]
    facts = [next(one["metrics"][name] for one in every if name in one.get("metrics", {})) for name in shown]
    lines = [
        ("", [name, *(values[n] for _, values in columns), fact["images"], fact["better"], fact["definition"]])
        for n, (name, fact) in enumerate(zip(shown, facts, strict=True))
    ]
    split = next((one["split"] for one in every if "split" in one), "")
    title = f"<h3>{escaped(of)}{f', split {escaped(split)}' if split else ''}</h3>"
    heads = ["metric", *(head for head, _ in columns), "images", "better", "what it is"]
    return f'{title}<div class="wide"><table>{table_rows([("head", heads), *lines])}</table></div>'


def _first(every: Sequence[LastEvaluation], name: str) -> float | str:
    return next((value for one in every if (value := _value(one, name)) != ""), "")


def _base(name: str) -> str:
    return name.partition("/")[0]


def _with(name: str, end: str) -> str:
    """Name a metric of untouched inputs or real images: `l1/side` becomes `l1_nothing/side`."""
    base, slash, part = name.partition("/")
    return f"{base}{end}{slash}{part}"


def _plain(name: str) -> str:
    """Name the metric that a metric of untouched inputs or real images stands beside."""
    base, slash, part = name.partition("/")
    return f"{base.removesuffix(NOTHING).removesuffix(REAL)}{slash}{part}"


def _value(one: LastEvaluation, name: str) -> float | str:
    found = one.get("metrics", {}).get(name)
    return found["value"] if found else ""


def _curves(runs: Sequence[RunFacts]) -> str:
    """Draw all curves, those of metrics and losses first; those about the machine are folded up."""
    names = dict.fromkeys(name for run in runs for name in run.events.scalars)
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("speed" if name.endswith("_seconds") else name.partition("/")[0], []).append(name)
    if not groups:
        return "<p>None was logged.</p>"
    splits = {run.config.monitoring.evaluate_split for run in runs}
    order = sorted(groups, key=lambda group: (group in CLOSED, group not in splits, group))
    return "\n".join(_group(runs, group, groups[group]) for group in order)


def _group(runs: Sequence[RunFacts], group: str, names: Iterable[str]) -> str:
    charts = "".join(chart(name, [run.events.scalars.get(name, []) for run in runs]) for name in names)
    opened = "" if group in CLOSED else " open"
    return f'<details{opened}><summary>{escaped(group)}</summary><div class="charts">{charts}</div></details>'


def chosen(grids: Mapping[int, str], most: int = MOST_GRIDS) -> dict[int, str]:
    """Choose grids evenly over the images, the first and the last among them."""
    every = list(grids.items())
    if len(every) <= most:
        return dict(every)
    return dict(every[round(n * (len(every) - 1) / (most - 1))] for n in range(most))


def _grids(run: RunFacts) -> str:
    """Put a run's grids under a slider; without scripts the last one shows."""
    shown: list[tuple[str, str]] = []
    lost = []
    for images, path in chosen(run.grids).items():
        try:
            shown.append((f"after {images:,} images", jpeg_source(_fitted(picture(run.run.read(path))))))
        except (OSError, StorageError, ValueError) as error:
            lost.append(f"<p>The grid {escaped(path)} cannot be read ({escaped(error)}).</p>")
    if not shown:
        return f"{_named(run)}{''.join(lost) or '<p>None was drawn.</p>'}"
    last = len(shown) - 1
    pictures = "".join(
        f'<img alt="{alt}" src="{source}"{"" if number == last else " hidden"}>'
        for number, (alt, source) in enumerate(shown)
    )
    some = f" {counted(len(run.grids), 'grid')} in all." if len(run.grids) > len(shown) else ""
    slider = f'<input type="range" min="0" max="{last}" value="{last}" aria-label="grids of {escaped(run.name)}">'
    box = f'<div class="grids">{slider} <output>{shown[-1][0]}</output>{some}{pictures}</div>'
    return f"{_named(run)}{box}{''.join(lost)}"


def _fitted(image: Image.Image) -> Image.Image:
    """Cut a picture below, where it is higher than wide, and reduce it to GRID_SIDE."""
    image = image.crop((0, 0, image.width, min(image.height, 2 * image.width)))
    image.thumbnail((GRID_SIDE, 2 * GRID_SIDE))
    return image


def _samples(run: RunFacts) -> str:
    if not run.samples:
        return f"{_named(run)}<p>None: they are drawn by an evaluation at the end of a run.</p>"
    try:
        image = _fitted(picture(run.run.read(run.samples)))
    except (OSError, StorageError, ValueError) as error:
        return f"{_named(run)}<p>{escaped(run.samples)} cannot be read ({escaped(error)}).</p>"
    return f'{_named(run)}<img alt="best, median and worst samples" src="{jpeg_source(image)}">'


def _times(run: RunFacts) -> str:
    """Draw a bar for each part of the last launch's time."""
    if not run.speed:
        return f"{_named(run)}<p>Not known: the last launch wrote none.</p>"
    seconds, share = run.speed["seconds"], run.speed["share"]
    lines = "".join(
        f'<tr><td>{escaped(part.replace("_", "-"))}</td><td class="n">{seconds[part]:,.1f} s</td>'
        f'<td class="n">{share.get(part, 0.0):.1%}</td><td style="width: 300px">'
        f'<div class="bar" style="width: {min(max(share.get(part, 0.0), 0), 1):.1%}"></div></td></tr>'
        for part in sorted(seconds, key=lambda part: -seconds[part])
    )
    workers, begun = run.speed["workers"], run.speed["from_images"]
    which = f"the last launch, from image {begun:,} on" if begun else "the whole run"
    said = f"{sum(seconds.values()):,.1f} s in all, {run.speed['images']:,} images, {counted(workers, 'worker')}"
    return (
        f'{_named(run)}<p class="note">{escaped(which)}: {escaped(said)}, {escaped(run.speed["device"])}</p>'
        f"<table>{lines}</table>"
    )


def write_report(url: str) -> str:
    """Write a run's report into its folder, and give its place. It is no part of the run: where it cannot be written,
    the log says so, and the place is empty."""
    try:
        facts = RunFacts.of(url)
        facts.run.write(facts.run.REPORT, page([facts]).encode())
        return facts.run.at(facts.run.REPORT)
    except Exception as error:  # of storage, of files that a person has changed, of protobuf
        logger.warning(f"no report: {type(error).__name__}: {error}")
        return ""
