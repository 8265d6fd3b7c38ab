"""What a sweep leaves to read: a table, the best configuration, plots, and one page with all of it.

Of a trial it reads Optuna's own fields and three attributes: `run` (its folder), `images` (seen), `reason` (why it was
stopped).
"""

from __future__ import annotations

import base64
import csv
import html
import io
import math
import re
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from statistics import quantiles
from typing import Any, Literal

import matplotlib
import optuna
from optuna.trial import FrozenTrial, TrialState

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from optuna.visualization import matplotlib as drawn_by_optuna

from i2i_core.config.run import TrainConfig
from i2i_core.evaluation.suite import DEFINITIONS
from i2i_core.search.space import Parameter, Space, configured, paper_values
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import redacted

SHOWN = 15
"""Rows that are printed at the end of a sweep."""
ENOUGH = 20
"""Completed trials below which importances are little more than chance."""


@dataclass(frozen=True)
class Objective:
    """A metric that a sweep searches for, and which way."""

    metric: str
    direction: Literal["lower", "higher"]

    @property
    def title(self) -> str:
        return f"{self.metric} ({self.direction} is better)"


@dataclass(frozen=True)
class Report:
    """What `write_report` left."""

    page: str
    """URL of index.html."""
    best: tuple[str, ...]
    """URLs of the best configurations, best of the first metric first; none while no trial ran to its end."""
    left_out: tuple[str, ...]
    """What could not be drawn, and why."""


def write_report(
    study: optuna.Study, objectives: Sequence[Objective], base: TrainConfig, space: Space, sweep: Folder
) -> Report:
    """Writes `trials.csv`, `best.json`, `plots/*.png` and `index.html` into the sweep's folder.

    `best.json` is what `train.py --config` takes; of several objectives there is `best-0.json`, ... for each trial that
    no other one beats in all of them. Called again, it writes all of them anew.
    """
    best = best_trials(study, objectives)
    names = ["best.json"] if len(objectives) == 1 else [f"best-{i}.json" for i in range(len(best))]
    files = dict(zip(names, best, strict=False))
    plots, left_out = _plots(study, objectives, space, paper_values(space, base))
    old = [name for name in sweep.names() if re.fullmatch(r"best(-\d+)?\.json", name)]
    old += [f"plots/{name}" for name in sweep.names("plots")]
    new = {f"plots/{name}.png": png for name, png in plots.items()}
    for name, trial in files.items():
        config = configured(base, trial.params)
        new[name] = replace(config, launch=replace(config.launch, name="")).dumps().encode()
    new["trials.csv"] = _csv(study.get_trials(deepcopy=False), objectives, space).encode()
    new["index.html"] = _page(study, objectives, base, space, sweep, files, plots, left_out).encode()
    for name, data in new.items():
        sweep.write(name, data)
    sweep.remove(*(name for name in old if name not in new))
    return Report(sweep.at("index.html"), tuple(sweep.at(name) for name in files), tuple(left_out))


def best_trials(study: optuna.Study, objectives: Sequence[Objective]) -> list[FrozenTrial]:
    """The best of the trials that ran to their end; of several objectives, the Pareto front, the best of the first
    objective first. None while no trial did."""
    done = _completed(study.get_trials(deepcopy=False))
    sign = 1 if objectives[0].direction == "lower" else -1
    ordered = sorted(done, key=lambda trial: (sign * trial.values[0], trial.number))
    if len(objectives) == 1:
        return ordered[:1]
    front = {trial.number for trial in study.best_trials}
    return [trial for trial in ordered if trial.number in front]


def _completed(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


def _of_paper(trials: Sequence[FrozenTrial], paper: Mapping[str, Any]) -> list[FrozenTrial]:
    """The trial of the paper's values, if it is among them."""
    return [trial for trial in trials if trial.params == paper][:1]


def table(study: optuna.Study, objectives: Sequence[Objective], space: Space) -> str:
    """The trials as text: those that ran to their end, best first, and why the others did not."""
    trials, best = study.get_trials(deepcopy=False), {trial.number for trial in best_trials(study, objectives)}
    sign = 1 if objectives[0].direction == "lower" else -1
    done = sorted(_completed(trials), key=lambda trial: (sign * trial.values[0], trial.number))
    head = ["", "trial", *(one.metric for one in objectives), "images", *_short_keys(space).values()]
    rows = [head]
    for trial in done[:SHOWN]:
        images = f"{trial.user_attrs.get('images', 0):,}"
        mark = "*" if trial.number in best else ""
        values = [_number(value) for value in trial.values]
        rows.append(
            [mark, str(trial.number), *values, images, *(_number(trial.params.get(k)) for k in space.parameters)]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if len(done) > SHOWN:
        lines.append(f"and {len(done) - SHOWN} more that ran to their end")
    if best:
        lines.append("* best" if len(objectives) == 1 else "* no other trial is better in every metric")
    else:
        lines.append("no trial has run to its end")
    others = [trial for trial in trials if trial.state != TrialState.COMPLETE]
    lines += [f"trial {t.number} {t.state.name.lower()}: {_reason(t)}" for t in others if _reason(t)]
    return "\n".join(lines)


def _short_keys(space: Space) -> dict[str, str]:
    """Keys without their section, where that tells them apart."""
    last = [key.rpartition(".")[2] for key in space.parameters]
    return {key: short if last.count(short) == 1 else key for key, short in zip(space.parameters, last, strict=True)}


def _reason(trial: FrozenTrial) -> str:
    return redacted(str(trial.user_attrs.get("reason", "")))


def _run(trial: FrozenTrial) -> str:
    return redacted(str(trial.user_attrs.get("run", "")))


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def _csv(trials: Sequence[FrozenTrial], objectives: Sequence[Objective], space: Space) -> str:
    """One row for each trial, in the order in which they began."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    metrics = [one.metric for one in objectives]
    writer.writerow(["trial", "state", *metrics, "images", *space.parameters, "began", "ended", "run", "reason"])
    for trial in trials:
        values = trial.values if trial.state == TrialState.COMPLETE else [""] * len(metrics)
        times = [when.isoformat(timespec="seconds") if when else "" for when in _times(trial)]
        params = [trial.params.get(key, "") for key in space.parameters]
        images = trial.user_attrs.get("images", "")
        writer.writerow([trial.number, trial.state.name, *values, images, *params, *times, _run(trial), _reason(trial)])
    return out.getvalue()


def _times(trial: FrozenTrial) -> list[Any]:
    return [trial.datetime_start, trial.datetime_complete]


# Plots


@dataclass(frozen=True)
class _Drawing:
    """What every plot draws from."""

    done: Sequence[FrozenTrial]
    """Trials that ran to their end, without those far off."""
    objectives: Sequence[Objective]
    space: Space
    best: Sequence[FrozenTrial]
    paper: Mapping[str, Any]
    """The paper's values."""


def _plots(
    study: optuna.Study, objectives: Sequence[Objective], space: Space, paper: Mapping[str, Any]
) -> tuple[dict[str, bytes], list[str]]:
    """PNGs by name, and what is not in them. A plot that fails costs nothing but itself: the sweep is done, and its
    numbers are to be kept."""
    done, best = _completed(study.get_trials(deepcopy=False)), best_trials(study, objectives)
    if len(done) < 2:
        return {}, [f"plots: {len(done)} trial(s) ran to the end, and they take two"]
    near, left_out = _without_far(done, objectives, best), []
    if far := [str(trial.number) for trial in done if trial.number not in {one.number for one in near}]:
        left_out.append(f"in the plots, trials that are far worse than the others: {', '.join(far)}")
    drawing, wanted = _Drawing(near, objectives, space, best, paper), dict[str, Callable[[], Any]]()
    for i, one in enumerate(objectives):
        suffix = f"-{re.sub(r'[^A-Za-z0-9]+', '_', one.metric)}" if len(objectives) > 1 else ""
        wanted[f"history{suffix}"] = partial(_history, drawing, i)
        wanted[f"slice{suffix}"] = partial(_slices, drawing, i)
        wanted[f"parallel_coordinate{suffix}"] = partial(_parallel, drawing, i)
    if any(len(trial.intermediate_values) > 1 for trial in study.get_trials(deepcopy=False)):
        wanted["curves"] = partial(_curves, study.get_trials(deepcopy=False), drawing)
    wanted["importance"] = partial(_importance, done, objectives, space)
    if len(objectives) in (2, 3):
        wanted["pareto_front"] = partial(_pareto, drawing)
    plots = {}
    for name, draw in wanted.items():
        try:
            with _figures():
                plots[name] = _png(draw())
        except Exception as error:
            left_out.append(f"{name}: {type(error).__name__}: {error}")
    return plots, left_out


def _without_far(
    done: Sequence[FrozenTrial], objectives: Sequence[Objective], best: Sequence[FrozenTrial]
) -> list[FrozenTrial]:
    """Without those so much worse in a metric that they would press all others into one line: by more than three times
    the distance between the quartiles."""
    near, fronts = list(done), {trial.number for trial in best}
    for i, one in enumerate(objectives):
        sign = 1 if one.direction == "lower" else -1
        costs = [sign * trial.values[i] for trial in done]
        lower, _, upper = quantiles(costs, n=4)
        most = upper + 3 * (upper - lower) if upper > lower else max(costs)
        near = [t for t in near if sign * t.values[i] <= most or t.number in fronts]
    return near if len(near) > 1 else list(done)


@contextmanager
def _figures() -> Iterator[None]:
    """A place to draw that leaves nothing behind: Optuna changes matplotlib's style for the whole process."""
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Optuna: experimental
        try:
            yield
        finally:
            plt.close("all")
            optuna.logging.set_verbosity(said)


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, bbox_inches="tight", facecolor="white")
    return out.getvalue()


def _history(drawing: _Drawing, i: int) -> Any:
    """The metric by trial, and the best so far."""
    one, trials = drawing.objectives[i], drawing.done
    numbers, values = [trial.number for trial in trials], [trial.values[i] for trial in trials]
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    axes.scatter(numbers, values, color="steelblue", zorder=2, label="trials")
    so_far = list(accumulate(values, min if one.direction == "lower" else max))
    axes.step(numbers, so_far, where="post", color="crimson", label="best so far")
    for trial in _of_paper(trials, drawing.paper):
        axes.axhline(trial.values[i], color="grey", linestyle="--", label="the paper's values")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=one.title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def _curves(trials: Sequence[FrozenTrial], drawing: _Drawing) -> Any:
    """The metric over images seen, of every trial: where those that were stopped stood among the others."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    best = {trial.number for trial in drawing.best}
    for trial in trials:
        seen, values = list(trial.intermediate_values), list(trial.intermediate_values.values())
        stopped = trial.state == TrialState.PRUNED
        colour = "crimson" if trial.number in best else "grey" if stopped else "steelblue"
        width = 2.2 if trial.number in best else 1.1
        axes.plot(seen, values, color=colour, linewidth=width, marker=".", zorder=2 + (trial.number in best))
        if stopped:
            axes.plot(seen[-1:], values[-1:], color=colour, marker="x", zorder=2)
    shown = [trial.values[0] for trial in drawing.done]
    shown += [v for t in drawing.done for v in t.intermediate_values.values()]
    room = 0.1 * (max(shown) - min(shown))
    axes.set_ylim(min(shown) - room, max(shown) + room)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set(xlabel="images", ylabel=drawing.objectives[0].title)
    axes.set_title("red: best; grey, with a cross at its end: PRUNED", fontsize=10)
    axes.grid(alpha=0.3)
    return figure


def _slices(drawing: _Drawing, i: int) -> Any:
    """The metric over each parameter. Optuna's is one long row, and does not know the paper's value."""
    parameters, title = drawing.space.parameters, drawing.objectives[i].title
    columns = min(3, len(parameters))
    rows = math.ceil(len(parameters) / columns)
    size = (4.2 * columns, 3 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axes, (key, parameter) in zip(grid.flat, parameters.items(), strict=False):
        place = _place(parameter)
        where = [place(trial.params[key]) for trial in drawing.done]
        numbers = [trial.number for trial in drawing.done]
        points = axes.scatter(where, [t.values[i] for t in drawing.done], c=numbers, cmap="viridis", s=28, zorder=2)
        where = [place(trial.params[key]) for trial in drawing.best]
        values = [trial.values[i] for trial in drawing.best]
        axes.scatter(where, values, c="none", edgecolors="crimson", s=130, linewidths=1.6, zorder=3, label="best")
        axes.axvline(place(drawing.paper[key]), color="grey", linestyle="--", linewidth=1, label="paper")
        _scale(axes, parameter)
        axes.set_title(key, fontsize=11)
        axes.grid(alpha=0.3)
    for axes in list(grid.flat)[len(parameters) :]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel(title)
    grid[0][0].legend(fontsize=8)
    figure.colorbar(points, ax=grid, label="trial", shrink=0.7, ticks=MaxNLocator(integer=True))
    return figure


def _place(parameter: Parameter) -> Callable[[Any], float]:
    """Where a value stands on its axis."""
    return parameter.choices.index if parameter.kind == "choice" else float


def _scale(axes: Any, parameter: Parameter) -> None:
    """The whole range, whatever was tried of it."""
    if parameter.kind == "choice":
        axes.set_xticks(range(len(parameter.choices)), [str(one) for one in parameter.choices])
        axes.set_xlim(-0.5, len(parameter.choices) - 0.5)
        return
    low, high = parameter.low, parameter.high
    if parameter.log:
        room = (high / low) ** 0.04
        axes.set_xscale("log")
        axes.set_xlim(low / room, high * room)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high / low < 200 else (1,), numticks=9))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        room = (high - low) * 0.04
        axes.set_xlim(low - room, high + room)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=parameter.kind == "int"))


def _parallel(drawing: _Drawing, i: int) -> Any:
    """Each trial as a line through its values. Optuna's writes over its own labels."""
    parameters, one = drawing.space.parameters, drawing.objectives[i]
    figure, axes = plt.subplots(figsize=(2 + 1.75 * len(parameters), 4.6), layout="constrained")
    across = range(len(parameters))
    colours = plt.get_cmap("viridis" if one.direction == "higher" else "viridis_r")
    values = [trial.values[i] for trial in drawing.done]
    norm = plt.Normalize(min(values), max(values))
    front = {trial.number for trial in drawing.best}

    def heights(chosen: Mapping[str, Any]) -> list[float]:
        return [_height(parameter, chosen[key]) for key, parameter in parameters.items()]

    for trial in sorted(drawing.done, key=lambda trial: trial.number in front):
        bold = trial.number in front
        colour = "crimson" if bold else colours(norm(trial.values[i]))
        axes.plot(across, heights(trial.params), color=colour, linewidth=2.2 if bold else 1.1, alpha=0.9)
    axes.plot(across, heights(drawing.paper), color="black", linestyle="--", linewidth=1.4)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1}
    for x, parameter in enumerate(parameters.values()):
        axes.axvline(x, color="black", linewidth=0.8)
        for value in parameter.ends:
            axes.text(x + 0.04, _height(parameter, value), _number(value), fontsize=9, va="center", bbox=box)
    axes.set_xticks(across, [key.replace(".", ".\n", 1) for key in parameters], fontsize=9)
    axes.set(yticks=[], xlim=(-0.1, len(parameters) - 0.5), ylim=(-0.05, 1.05))
    axes.spines[:].set_visible(False)
    axes.set_title("red: best; dashed: the paper's values", fontsize=10)
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=one.title)
    return figure


def _height(parameter: Parameter, value: Any) -> float:
    """Where in its range a value stands, 0 to 1."""
    if parameter.kind == "choice":
        return parameter.choices.index(value) / (len(parameter.choices) - 1)
    low, high = parameter.low, parameter.high
    if parameter.log:
        return math.log(value / low) / math.log(high / low)
    return float((value - low) / (high - low))


def _importance(done: Sequence[FrozenTrial], objectives: Sequence[Objective], space: Space) -> Any:
    """Optuna's (PED-ANOVA, Watanabe et al. 2023)."""
    axes = drawn_by_optuna.plot_param_importances(_study_of(done, objectives))
    axes.set_title("", loc="left")
    axes.set(ylabel="", xlabel="share of what decides whether a trial is among the best")
    axes.get_legend().set_visible(len(objectives) > 1)
    axes.figure.set_size_inches(8, 1.2 + 0.25 * (1 + len(objectives)) * len(space.parameters))
    return axes.figure


def _pareto(drawing: _Drawing) -> Any:
    """Optuna's."""
    axes = drawn_by_optuna.plot_pareto_front(_study_of(drawing.done, drawing.objectives))
    for trial in _of_paper(drawing.done, drawing.paper):
        axes.scatter(*trial.values, marker="x", s=90, color="black", label="the paper's values")
        axes.legend()
    axes.set_title("")
    axes.figure.set_size_inches(7, 5)
    return axes.figure


def _study_of(trials: Sequence[FrozenTrial], objectives: Sequence[Objective]) -> optuna.Study:
    """These trials alone, with the metrics' names."""
    ways = ["minimize" if one.direction == "lower" else "maximize" for one in objectives]
    study = optuna.create_study(directions=ways)
    study.set_metric_names([one.title for one in objectives])
    study.add_trials(trials)
    return study


# The page

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1150px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-size: 13px; }
th, td { border-bottom: 1px solid #ddd; padding: .3em .7em; text-align: left; vertical-align: top; }
th { background: #f5f5f5; } td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.best { background: #eef7ee; } tr.off { color: #777; }
.wide { overflow-x: auto; } img { max-width: 100%; } pre { background: #f5f5f5; padding: .8em; overflow-x: auto; }
"""
CAPTIONS = {
    "importance": f"<p>How much each parameter decides whether a trial is among the best (PED-ANOVA, Watanabe et al. "
    f"2023). With fewer than {ENOUGH} completed trials it says little.</p>",
}


def _page(
    study: optuna.Study,
    objectives: Sequence[Objective],
    base: TrainConfig,
    space: Space,
    sweep: Folder,
    best: Mapping[str, FrozenTrial],
    plots: Mapping[str, bytes],
    left_out: Sequence[str],
) -> str:
    """One HTML page that needs nothing beside it. `best`: trials by the file of their configuration."""
    trials, paper = study.get_trials(deepcopy=False), paper_values(space, base)
    metrics = " and ".join(one.title for one in objectives)
    title = f"{base.method}: {metrics}"
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{_e(title)}</title>',
            f"<style>{STYLE}</style></head><body>",
            f"<h1>{_e(title)}</h1>",
            *_question(trials, objectives, base, sweep),
            *_answer(trials, objectives, space, paper, best),
            "<h2>Trials</h2>",
            _html_table(*_trial_rows(trials, objectives, space, {trial.number for trial in best.values()})),
            "<p>COMPLETE ran to its end. PRUNED was stopped, for the reason given: it did worse than others at as many "
            "images, its loss was no number, it failed, or the configuration refuses the combination. The same table: "
            "<code>trials.csv</code>.</p>",
            "<h2>Plots</h2>",
            *(f"<p>Not shown {_e(line) if line.startswith('in ') else ': ' + _e(line)}.</p>" for line in left_out),
            *(_image(name, png) for name, png in plots.items()),
            "<h2>Commands</h2>",
            *_commands(base, sweep, best),
            "</body></html>",
            "",
        ]
    )


def _question(
    trials: Sequence[FrozenTrial], objectives: Sequence[Objective], base: TrainConfig, sweep: Folder
) -> list[str]:
    """What was asked, of which data, and how far it got."""
    counts = ", ".join(
        f"{count} {state.name}" for state in TrialState if (count := sum(trial.state == state for trial in trials))
    )
    length = f"{base.training.images:,} images" if base.training.images else f"{base.training.epochs:g} epochs"
    rows = [
        ("sweep", sweep.url),
        ("method, preset", f"{base.method}, {base.preset}"),
        ("data", ", ".join(uri or "the built-in glyphs" for uri in base.data.uris)),
        ("length of a trial", f"{length}, batch {base.training.batch}, seed {base.training.seed}"),
        ("measured on", f"{base.monitoring.evaluate_split}, {base.monitoring.evaluate_samples or 'all'} samples"),
        *((one.metric, DEFINITIONS.get(one.metric.split("/")[0], "")) for one in objectives),
        ("trials", counts or "none"),
    ]
    return [_html_table(None, [("", [_cell(name), _cell(value)]) for name, value in rows])]


def _answer(
    trials: Sequence[FrozenTrial],
    objectives: Sequence[Objective],
    space: Space,
    paper: Mapping[str, Any],
    best: Mapping[str, FrozenTrial],
) -> list[str]:
    """The best beside the paper's values, with the range of each and its reason."""
    tried = _of_paper(_completed(trials), paper)
    columns = {
        "paper": tried[0] if tried else None,
        **{name.removesuffix(".json"): trial for name, trial in best.items()},
    }
    head = ["", *columns, "range", "why"]
    rows = []
    for i, one in enumerate(objectives):
        values = [_number(trial.values[i]) if trial else "not run to its end" for trial in columns.values()]
        rows.append(("best", [_cell(one.title), *map(_figure, values), _cell(""), _cell("")]))
    for key, parameter in space.parameters.items():
        chosen = [paper[key], *(trial.params.get(key) for trial in best.values())]
        cells = [_figure(_number(value)) for value in chosen]
        rows.append(("", [_cell(key), *cells, _cell(parameter), _cell(parameter.why)]))
    said = ["<h2>Best</h2>" if len(objectives) == 1 else "<h2>Best: no other trial is better in every metric</h2>"]
    if not best:
        said.append("<p>No trial has run to its end.</p>")
    said.append(_html_table(head, rows))
    if best:
        said.append(
            "<p>Each value is of one run. Before you trust a small difference, train both again with other seeds "
            "(<code>--seed</code>) and measure on the test split.</p>"
        )
    return said


def _trial_rows(
    trials: Sequence[FrozenTrial], objectives: Sequence[Objective], space: Space, best: set[int]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    head = ["trial", "state", *(one.metric for one in objectives), "images", *space.parameters, "reason", "run"]
    rows = []
    for trial in trials:
        whole = trial.state == TrialState.COMPLETE
        values = trial.values if whole else [None] * len(objectives)
        images = trial.user_attrs.get("images")
        cells = [_figure(str(trial.number)), _cell(trial.state.name), *(_figure(_number(value)) for value in values)]
        cells.append(_figure("" if images is None else f"{images:,}"))
        cells += [_figure(_number(trial.params.get(key))) for key in space.parameters]
        cells += [_cell(_reason(trial)), _cell(_run(trial))]
        rows.append(("best" if trial.number in best else "" if whole else "off", cells))
    return head, rows


def _commands(base: TrainConfig, sweep: Folder, best: Mapping[str, FrozenTrial]) -> list[str]:
    """What to do next."""
    out = []
    if best:
        name, trial = next(iter(best.items()))
        run = shlex.quote(_run(trial) or redacted(sweep.at(f"trials/{trial.number:04d}")))
        config = shlex.quote(redacted(sweep.at(name)))
        lines = {
            "train with it, as long as you like": f"python pipelines/train.py --config {config} --images N",
            "translate with the trial's own run": f"python pipelines/translate.py {run} --input IMAGES --out FOLDER",
            "measure it on held-out data": f"python pipelines/evaluate.py {run} --data DATA --split test "
            "--out result.json",
        }
        out += [f"<p>{_e(what)}:</p><pre>{_e(command)}</pre>" for what, command in lines.items()]
    log = shlex.quote(sweep.at("study.log") if sweep.local else "study.log")
    out.append(f"<p>look through the trials:</p><pre>pip install optuna-dashboard\noptuna-dashboard {_e(log)}</pre>")
    return out


def _image(name: str, png: bytes) -> str:
    data, caption = base64.b64encode(png).decode(), CAPTIONS.get(name, "")
    return f'<h3>{_e(name)}</h3>{caption}<p><img alt="{_e(name)}" src="data:image/png;base64,{data}"></p>'


def _html_table(head: Sequence[str] | None, rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Rows are (class, cells); cells are HTML."""
    top = "<tr>" + "".join(f"<th>{_e(name)}</th>" for name in head) + "</tr>" if head else ""
    body = "\n".join(f'<tr class="{kind}">{"".join(cells)}</tr>' for kind, cells in rows)
    return f'<div class="wide"><table>{top}\n{body}</table></div>'


def _cell(value: Any) -> str:
    return f"<td>{_e(value)}</td>"


def _figure(value: str) -> str:
    return f'<td class="n">{_e(value)}</td>'


def _e(value: Any) -> str:
    """Text as HTML, without the passwords of addresses in it."""
    return html.escape(redacted(str(value)))
