"""Write what a sweep leaves to read: a table, the best configuration, Optuna's plots, and one page with all of it.

The report reads Optuna's own fields of a trial, four of its attributes, `run` (the run's folder), `images` (images
seen), `outcome` and `reason` (why the trial did not run to its end), and the last grid of its run. The page's
words and looks are in `report.html`.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import re
import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import quantiles
from string import Template
from typing import Any

import matplotlib
import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from optuna.visualization import matplotlib as drawn

from i2i_core.config.run import TrainConfig
from i2i_core.credentials import redacted
from i2i_core.errors import counted
from i2i_core.evaluation.samples import NOTHING, suffixed
from i2i_core.evaluation.suite import DEFINITIONS
from i2i_core.names import printable, printable_text
from i2i_core.reporting.html import cell_text, escaped, picture, png_source, table_rows
from i2i_core.reporting.page import write_report as write_report_of
from i2i_core.runs.folder import RunFolder
from i2i_core.runs.listing import TRIALS
from i2i_core.search.space import Space, configured, paper_values
from i2i_core.search.study import FAILED, FINISHED, STOPPED_EARLY, SearchedMetric, best_trials, completed, evaluations
from i2i_core.storage.folder import Folder
from i2i_core.storage.retry import StorageError

logger = logging.getLogger(__name__)

SHOWN = 15
"""Rows of the table that is printed at the end of a sweep."""
FORMULAS = ("=", "+", "-", "@")
"""Beginnings of a formula in a cell of a spreadsheet."""
COLUMNS = 3
"""Parameters beside each other in a plot."""
PICTURE = 200
"""Pixels per side of a trial's picture on the page, at most: the first rows of its last grid."""
RANKED = 8
"""Completed trials from which on the importance of parameters is drawn."""
_LEGIBLE = plt.get_cmap("viridis")(np.linspace(0.0, 0.6, 256))
"""Colours that all stand out from white; viridis goes on to yellow."""
SCALES = {"Blues": ListedColormap(_LEGIBLE[::-1]), "Blues_r": ListedColormap(_LEGIBLE)}
"""What replaces a scale of Optuna's, by its name: the end that was dark is the dark one."""
GRID = "#e5e5e5"
ENDINGS = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: STOPPED_EARLY, TrialState.FAIL: FAILED}
"""Outcomes of trials that have no attribute `outcome`, by Optuna's state."""
PAGE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class Report:
    """Name the files that `write_report` wrote."""

    page: str
    """URL of index.html."""
    best: tuple[str, ...]
    """URLs of the best configurations, the best of the first metric first; none while no trial ran to its end."""
    left_out: tuple[str, ...]
    """A line for each plot that was not drawn, and why."""


class _Sweep:
    """Hold what a report is made of: the trials, those `done` (which ran to their end, best first), the best ones."""

    def __init__(
        self, study: optuna.Study, objectives: Sequence[SearchedMetric], space: Space, paper: Mapping[str, Any]
    ):
        self.study, self.objectives, self.space, self.paper = study, objectives, space, paper
        self.trials, self.done = study.get_trials(deepcopy=False), completed(study, objectives)
        self.best, self.several = best_trials(study, objectives), len(objectives) > 1
        names = [f"best-{i}.json" for i in range(len(self.best))] if self.several else ["best.json"]
        self.files = dict(zip(names, self.best, strict=False))
        metrics = [one.metric for one in objectives]
        self.head = ["trial", "state", *metrics, "images", *space.parameters, "began", "ended", "run", "reason"]
        self.rows = [self._row(trial, trial.state == TrialState.COMPLETE) for trial in self.trials]
        self.tried = next((trial.values for trial in self.done if trial.params == paper), [None] * len(objectives))
        # Of one metric Optuna is not told which: then it draws the best so far, too.
        values = [(lambda trial, i=i: trial.values[i]) if self.several else None for i in range(len(objectives))]
        self.targets = [{"target_name": o.title, "target": v} for o, v in zip(objectives, values, strict=True)]

    def _row(self, trial: FrozenTrial, whole: bool) -> dict[str, Any]:
        """Describe a trial by the heads of its columns; "" for a value that it does not have."""
        metrics = [(trial.values[i] if whole else "") for i in range(len(self.objectives))]
        params = [trial.params.get(key, "") for key in self.space.parameters]
        times = [str(when or "")[:19] for when in (trial.datetime_start, trial.datetime_complete)]
        words = [redacted(str(trial.user_attrs.get(name, ""))) for name in ("run", "reason")]
        images = trial.user_attrs.get("images", "")
        cells = [str(trial.number), _ending(trial), *metrics, images, *params, *times, *words]
        return dict(zip(self.head, cells, strict=True))


def _ending(trial: FrozenTrial) -> str:
    """Say how a trial ended, in the words of the sweep's log; `running` or `waiting` where it has not."""
    return str(trial.user_attrs.get("outcome", ENDINGS.get(trial.state, trial.state.name.lower())))


def write_report(
    study: optuna.Study, objectives: Sequence[SearchedMetric], base: TrainConfig, space: Space, sweep: Folder
) -> Report:
    """Write `trials.csv`, `best.json`, `plots/*.png` and `index.html` into the sweep's folder.

    `train.py --config` takes `best.json`; a sweep of several objectives has `best-0.json`, ... for each trial that no
    other one beats in all objectives. Trials whose runs have no report get theirs. A second call replaces the files of
    the first.
    """
    of = _Sweep(study, objectives, space, paper_values(space, base))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Optuna: experimental
        plots, left_out = _plots(of)
    old = [name for name in sweep.names() if re.fullmatch(r"best(-\d+)?\.json", name)]
    old += [f"plots/{name}" for name in sweep.names("plots")]
    new = {f"plots/{name}.png": png for name, png in plots.items()}
    for name, trial in of.files.items():
        config = configured(base, trial.params)
        new[name] = replace(config, launch=replace(config.launch, name="")).dumps().encode()
    table = io.StringIO()
    rows = [of.head, *(row.values() for row in of.rows)]
    csv.writer(table, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    new["trials.csv"] = table.getvalue().encode()
    _write_missing(of, sweep)
    new["index.html"] = _page(of, base, sweep, plots, left_out).encode()
    for name, data in new.items():
        sweep.write(name, data)
    sweep.remove(*(name for name in old if name not in new))
    return Report(sweep.at("index.html"), tuple(sweep.at(name) for name in of.files), tuple(left_out))


def _cell(value: Any) -> Any:
    """Give a value as a cell of a CSV file: text that a spreadsheet takes for a formula has an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(FORMULAS) else text


def table(study: optuna.Study, objectives: Sequence[SearchedMetric], space: Space) -> str:
    """Put the trials into text: those that ran to their end, best first, and the reasons of the others."""
    of = _Sweep(study, objectives, space, {})
    last = [key.rpartition(".")[2] for key in space.parameters]  # without the section, where that tells them apart
    short = [one if last.count(one) == 1 else key for key, one in zip(space.parameters, last, strict=True)]
    metrics = [one.metric for one in objectives]
    rows = [["", "trial", *metrics, "images", *short]]
    for trial in of.done[:SHOWN]:
        shown = [cell_text(of.rows[trial.number][name]) for name in ("trial", *metrics, "images", *space.parameters)]
        rows.append(["*" if trial in of.best else "", *shown])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if len(of.done) > SHOWN:
        lines.append(f"and {len(of.done) - SHOWN} more that ran to their end")
    titles = ", ".join(one.title for one in objectives)
    ends = f"* best: {titles}" if len(objectives) == 1 else f"* no other trial is better in every metric: {titles}"
    lines.append(ends if of.best else "no trial has run to its end")
    others = [row for row in of.rows if row["state"] != FINISHED and row["reason"]]
    return "\n".join(
        [
            *lines,
            *_no_better(of),
            *(f"trial {row['trial']} {row['state']}: {printable_text(row['reason'])}" for row in others),
        ]
    )


def _no_better(of: _Sweep) -> list[str]:
    """Say of each metric in which the best trial is no better than images that nothing was done to."""
    lines = []
    for i, one in enumerate(of.objectives if of.best else ()):
        values = [(one.sign * trial.values[i], trial.values[i], trial) for trial in of.best]
        _, value, best = min(values, key=lambda known: known[0])
        measured = evaluations(best.user_attrs)
        nothing = measured[-1][1].get(suffixed(one.metric, NOTHING)) if measured else None
        if nothing is not None and one.sign * (nothing - value) <= 0:
            lines.append(
                f"no trial is better in {one.metric} than doing nothing, which has {nothing:.4g}: trials were too "
                "short (--images), or the ranges are wrong"
            )
    return lines


def _plots(of: _Sweep) -> tuple[dict[str, bytes], list[str]]:
    """Draw Optuna's plots as PNGs by name, with the paper's values and the best marked; list what is not drawn and why.

    A plot that fails is left out: the sweep is done, and its numbers must be kept.
    """
    if len(of.done) < 2:
        return {}, [f"plots: {len(of.done)} trial(s) ran to the end, and they take two"]
    far = _far(of)
    left_out = [f"in the plots, trials that are far worse than the others: {', '.join(map(str, far))}"] if far else []
    near, wanted = _without(of, far), dict[str, tuple[float, float, Callable[[], Any]]]()
    count, rows = len(of.space.parameters), math.ceil(len(of.space.parameters) / COLUMNS)
    for i, metric in enumerate(objective.metric for objective in of.objectives):
        suffix = f"-{re.sub(r'[^A-Za-z0-9]+', '_', metric)}" if of.several else ""
        wanted[f"history{suffix}"] = 9, 3.6, partial(_history, near, i)
        wanted[f"slice{suffix}"] = 1 + 3.6 * min(COLUMNS, count), 3 * rows, partial(_slice, near, i, rows)
    wanted["parallel_coordinate"] = 4 + 2 * count, 5, partial(_parallel, near)
    if any(len(trial.intermediate_values) > 1 for trial in near.trials):
        wanted["curves"] = 9, 4, partial(_curves, near)
    elif not of.several:
        left_out.append("curves: no trial was measured more than once")
    if len(of.done) < RANKED:
        left_out.append(f"importance: {len(of.done)} trials ran to their end, and it takes {RANKED} to tell")
    else:
        wanted["importance"] = 8, 1 + 0.5 * count, partial(drawn.plot_param_importances, _without(of, []).study)
    if len(of.objectives) in (2, 3):
        wanted["pareto_front"] = 7, 5, partial(drawn.plot_pareto_front, near.study)
    elif of.several:
        left_out.append(f"pareto_front: of {len(of.objectives)} metrics, and it shows two or three")
    plots = {}
    for name, (width, height, draw) in wanted.items():
        try:
            with plt.rc_context():  # each plot in the style that Optuna draws it in, by itself
                figure, out = np.ravel(draw())[0].figure, io.BytesIO()
                _make_legible(figure)
                figure.set_size_inches(width, height)
                figure.savefig(out, format="png", dpi=110, bbox_inches="tight", facecolor="white")
                plots[name] = out.getvalue()
        except Exception as error:
            left_out.append(f"{name}: {type(error).__name__}: {error}")
        finally:
            plt.close("all")
    return plots, left_out


def _far(of: _Sweep) -> list[int]:
    """Find trials that are worse in a metric than the upper quartile by more than three times the distance between the
    quartiles: in a plot they would press all others into one line."""
    far, best = set[int](), {trial.number for trial in of.best}
    for i, one in enumerate(of.objectives):
        costs = {trial.number: one.sign * trial.values[i] for trial in of.done}
        lower, _, upper = quantiles(costs.values(), n=4)
        most = upper + 3 * (upper - lower) if upper > lower else math.inf
        far |= {number for number, cost in costs.items() if cost > most} - best
    return sorted(far) if len(of.done) - len(far) > 1 else []


def _without(of: _Sweep, far: Sequence[int]) -> _Sweep:
    """Copy the sweep without some trials, with the metrics' names; the others keep their numbers."""
    study = optuna.create_study(directions=of.study.directions)
    study.set_metric_names([one.title for one in of.objectives])
    gone = create_trial(state=TrialState.FAIL)
    study.add_trials(gone if trial.number in far else trial for trial in of.trials)
    return _Sweep(study, of.objectives, of.space, of.paper)


def _make_legible(figure: Any) -> None:
    """Recolour a figure of Optuna: its scales begin with white, on white or on grey, so that the trials at one end of a
    scale would be as good as invisible."""
    for axes in figure.axes:
        axes.set_facecolor("white")
        for points in axes.collections:
            if points.get_array() is not None and points.get_cmap().name in SCALES:
                points.set_cmap(SCALES[points.get_cmap().name])
        if axes.get_xgridlines() and axes.get_xgridlines()[0].get_visible():
            axes.grid(color=GRID)


def _history(of: _Sweep, i: int) -> Any:
    axes = drawn.plot_optimization_history(of.study, **of.targets[i])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # numbers of trials
    if of.tried[i] is not None:
        axes.axhline(of.tried[i], color="black", linestyle="--", linewidth=1, label="the paper's values")
        axes.legend(bbox_to_anchor=(1.05, 1.0), loc="upper left")  # anew, with the line
    return axes


def _parallel(of: _Sweep) -> Any:
    """Draw a line for each trial through its values, the best one red; of several metrics by Optuna's ranks alone."""
    if of.several:
        return drawn.plot_parallel_coordinate(of.study)
    axes = drawn.plot_parallel_coordinate(of.study, **of.targets[0])
    (lines,) = (each for each in axes.collections if isinstance(each, LineCollection))
    metric = np.asarray(lines.get_array()) * of.objectives[0].sign
    best = lines.get_segments()[int(metric.argmin())]
    axes.add_collection(LineCollection([best], colors="crimson", linewidths=2.2))
    return axes


def _slice(of: _Sweep, i: int, rows: int) -> Any:
    """Draw the metric over each parameter, in several rows; Optuna puts all parameters into one."""
    grid = list(np.ravel(drawn.plot_slice(of.study, **of.targets[i])))
    places = grid[0].figure.add_gridspec(rows, min(COLUMNS, len(grid)))
    for n, axes in enumerate(grid):
        key, first = axes.get_xlabel(), n % COLUMNS == 0
        place = repr if of.space.parameters[key].kind == "choice" else float
        axes.axvline(place(of.paper[key]), color="black", linestyle="--", linewidth=1)
        where, values = [place(trial.params[key]) for trial in of.best], [trial.values[i] for trial in of.best]
        axes.scatter(where, values, c="none", edgecolors="crimson", s=130, linewidths=1.6)
        if len(grid) > 1:  # else the scale of colours has taken of its place
            axes.set_subplotspec(places[n])
        axes.tick_params(labelbottom=True, labelleft=first)
        if axes.get_xscale() == "log":  # every minor tick has a label otherwise, one over the other
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylabel(of.objectives[i].title if first else "")
    grid[0].figure.set_layout_engine("constrained" if len(grid) > 1 else None)
    return grid


def _curves(of: _Sweep) -> Any:
    """Draw the metric over images seen, a line for each trial, so that one sees where the stopped ones stood.

    A stopped trial ends in a cross, or in an arrow at the edge where it was further off than all that ran to their end.
    """
    axes, best = drawn.plot_intermediate_values(of.study), [trial.number for trial in of.best]
    ends: list[list[float]] = []
    for line in axes.get_lines():
        number = int(line.get_label().removeprefix("Trial"))
        stopped, width = of.trials[number].state == TrialState.PRUNED, 2.2 if number in best else 1.1
        line.set(color="crimson" if number in best else "grey" if stopped else "steelblue", linewidth=width)
        if stopped:
            ends.append([values[-1] for values in line.get_data()])
    shown = [value for trial in of.done for value in (*trial.values, *trial.intermediate_values.values())]
    room = 0.1 * (max(shown) - min(shown))
    bottom, top = min(shown) - room, max(shown) + room
    for x, y in ends:
        marker = "^" if y > top else "v" if y < bottom else "x"
        axes.plot([x], [min(max(y, bottom), top)], color="grey", marker=marker, clip_on=False)
    axes.set(xlabel="images", ylabel=of.objectives[0].title, ylim=(bottom, top))
    axes.legend().remove()
    return axes


def _page(of: _Sweep, base: TrainConfig, sweep: Folder, plots: Mapping[str, bytes], left_out: Sequence[str]) -> str:
    """Write one HTML page that shows without other files; its links lead to files of the sweep's folder."""
    training, measured, states = base.training, base.monitoring, [row["state"] for row in of.rows]
    file, trial = next(iter(of.files.items()), ("", None))
    run = trial and (trial.user_attrs.get("run") or sweep.at(_run_of(trial)))
    words = {
        "title": f"{base.method}: {' and '.join(one.title for one in of.objectives)}",
        "heading": "Best: no other trial is better in every metric" if of.several else "Best",
        **{"sweep": sweep.url, "method": base.method, "preset": base.preset},
        "data": ", ".join(uri or "the built-in glyphs" for uri in base.data.uris),
        "length": f"{training.images:,} images" if training.images else f"{training.epochs:g} epochs",
        **{"batch": training.batch, "seed": training.seed},
        **{
            "split": measured.evaluate_split,
            "samples": f"{measured.evaluate_samples:,} samples of it, or all where it has fewer (--evaluate-samples)"
            if measured.evaluate_samples
            else "all its samples",
        },
        "counts": ", ".join(f"{count} {state}" for state, count in Counter(states).most_common()) or "none",
        "nothing": "; ".join(_no_better(of)),
        "commands": "" if of.best else "hidden",
        "uri": shlex.quote(base.data.uri or "DATA"),
        **{"config": shlex.quote(sweep.at(file)), "run": shlex.quote(str(run))},
        "log": shlex.quote(sweep.at("study.log") if sweep.local else "study.log"),
    }
    metrics = [("", [one.metric, DEFINITIONS.get(one.metric.split("/")[0], "")]) for one in of.objectives]
    left = [f"<p>Not shown{' ' if line.startswith('in ') else ': '}{escaped(line)}.</p>" for line in left_out]
    shown = '<h3>{0}</h3><p><a href="plots/{0}.png"><img alt="{0}" src="{1}"></a></p>'
    return Template(PAGE.read_text()).substitute(
        {name: escaped(word) for name, word in words.items()},
        metrics=table_rows(metrics),
        best=table_rows(_comparison(of)),
        trials=_trials(of, sweep),
        plots="\n".join([*left, *(shown.format(escaped(name), png_source(png)) for name, png in plots.items())]),
    )


def _trials(of: _Sweep, sweep: Folder) -> str:
    """Give the rows of the table of trials: picture, number with a link to the run, metrics, values, what became."""
    metrics = [one.metric for one in of.objectives]
    heads = ["picture", "trial", *metrics, "images", "values", "what became of it"]
    lines = [f"<tr>{''.join(f'<th>{escaped(head)}</th>' for head in heads)}</tr>"]
    best = {trial.number for trial in of.best}
    for row, trial in zip(of.rows, of.trials, strict=True):
        kind = "best" if trial.number in best else "" if row["state"] == FINISHED else "off"
        run = _run_of(trial)
        report = RunFolder.REPORT if sweep.exists(f"{run}/{RunFolder.REPORT}") else ""
        known = [key for key in of.space.parameters if row[key] != ""]
        values = (f"<span>{escaped(key)} {escaped(cell_text(row[key]))}</span>" for key in known)
        ended = " ".join(filter(None, [row["state"], row["reason"] and f"- {row['reason']}"]))
        cells = [
            _picture(sweep, run),
            f'<a href="{run}/{report}" title="{escaped(row["run"])}">{trial.number}</a>',
            *(escaped(cell_text(row[metric])) for metric in metrics),
            escaped(cell_text(row["images"])),
            " ".join(values),
            escaped(ended),
        ]
        shown = (f'<td data-of="{escaped(head)}">{cell}</td>' for head, cell in zip(heads, cells, strict=True))
        lines.append(f'<tr class="{kind}">{"".join(shown)}</tr>')
    return "\n".join(lines)


def _run_of(trial: FrozenTrial) -> str:
    """Name the folder of a trial's run, in the sweep's folder."""
    return f"{TRIALS}/{trial.number:04d}"


def _write_missing(of: _Sweep, sweep: Folder) -> None:
    """Write the reports of trials that the sweep ended before they could."""
    runs = map(_run_of, of.trials)
    missing = [run for run in runs if sweep.exists(run) and not sweep.exists(f"{run}/{RunFolder.REPORT}")]
    if missing:
        logger.info(f"writing the reports of {counted(len(missing), 'trial')} that ended before they could")
    for run in missing:
        write_report_of(sweep.at(run))


def _picture(sweep: Folder, run: str) -> str:
    """Give the first rows of a run's last grid, small, with a link to the whole; a word where there is none."""
    try:
        grids = [name for name in sweep.names(f"{run}/{RunFolder.GRIDS}") if name.endswith(".png")]
        if not grids:
            return "no grid"
        path = f"{run}/{RunFolder.GRIDS}/{grids[-1]}"
        grid = picture(sweep.read(path))
    except (OSError, StorageError, ValueError) as error:
        return f"its grid cannot be read ({escaped(error)})"
    grid = grid.crop((0, 0, grid.width, min(grid.height, grid.width)))
    grid.thumbnail((PICTURE, PICTURE))
    out = io.BytesIO()
    grid.save(out, "PNG")
    shown = f'<img class="grid" alt="last grid" src="{png_source(out.getvalue())}">'
    return f'<a href="{escaped(path)}">{shown}</a>'


def _comparison(of: _Sweep) -> list[tuple[str, list[Any]]]:
    """Compare the best with the paper's values, with the range of each parameter and its reason."""
    rows: list[Any] = [("head", ["", "paper", *(name.removesuffix(".json") for name in of.files), "range", "why"])]
    for i, one in enumerate(of.objectives):
        tried = "not run to its end" if of.tried[i] is None else of.tried[i]
        rows.append(("best", [one.title, tried, *(trial.values[i] for trial in of.best), "", ""]))
    for key, parameter in of.space.parameters.items():
        values = [trial.params.get(key, "") for trial in of.best]
        rows.append(("", [key, of.paper[key], *values, str(parameter), parameter.why]))
    return rows if of.best else [*rows, ("off", ["No trial has run to its end."])]
