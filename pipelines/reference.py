"""Write docs/reference from the code: every flag, metric and file. `make reference`; a test compares the two."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import cleandoc
from pathlib import Path
from typing import Any

from i2i_core.cli import main, parse, say
from i2i_core.config.run import TrainConfig
from i2i_core.config.sections import SECTIONS
from i2i_core.config.sweep import SweepConfig
from i2i_core.errors import ConfigError
from i2i_core.flags import Flag, by_section, documented, flags_of
from i2i_core.registry import METHODS

ROOT = Path(__file__).resolve().parents[1]
MADE = "<!-- made by `make reference` from the code: edit that, not this -->"
OTHERS = {
    "shard.py": ("pipelines.shard", "MakeOptions"),
    "translate.py": ("pipelines.translate", "Command"),
    "evaluate.py": ("pipelines.evaluate", "EvaluateOptions"),
    "generate.py": ("pipelines.generate", "GenerateOptions"),
    "export.py": ("pipelines.export", "ExportOptions"),
    "report.py": ("pipelines.report", "ReportOptions"),
    "share.py push": ("pipelines.share", "PushOptions"),
    "share.py pull": ("pipelines.share", "PullOptions"),
    "study.py make": ("pipelines.study", "MakeOptions"),
    "study.py read": ("pipelines.study", "ReadOptions"),
    "serve.py": ("pipelines.serve", "Command"),
    "runs.py": ("pipelines.runs", "ListOptions"),
    "runs.py prune": ("pipelines.runs", "PruneOptions"),
    "demo.py": ("pipelines.demo", "Demo"),
    "sweep_demo.py": ("pipelines.sweep_demo", "SweepDemo"),
}
"""Module and options of each program beside train.py and tune.py."""
FAMILIES_NEED = {
    "basic": "no network of others",
    "lpips": "pairs, or a method with codes; grey or RGB; the network's weights (`--lpips-weights`, `--lpips-network`)",
    "inception": "grey or RGB; the Inception weights (`--inception`)",
    "efficientnet": "grey or RGB; the extra `features`, which brings the weights",
    "efficientnet_pairs": "pairs, or a method with codes; grey or RGB; the extra `features`, which brings the weights",
    "fcn": "pairs of label images and photos; a segmentation network (`--segmentation`, `--palette`)",
    "colour": "pairs in colour",
}
"""By family, the data and the files that it needs, and the flags that name those files."""
BASIC_NEEDS = {
    "paired": "pairs",
    "attributes": "labels",
    "unpaired": "two domains",
    "multimodal": "a method with codes",
}
"""By module of `basic`'s metrics, the data or the method that has them."""
TITLES = {"": "the program itself", "run": "method and preset", "at_test": "networks at test time"}
"""Titles of sections that are not named as their fields are."""
CLASSIFIED = ("accuracy", "in_target")
"""How metrics begin that a classifier judges."""


@dataclass(frozen=True)
class ReferenceOptions:
    """Write the pages of docs/reference."""

    out: Path = ROOT / "docs" / "reference"
    """Folder for the pages."""


# ---- flags.md ----


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Write a table of Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def code(text: str) -> str:
    """Set a text as code; an empty one stays empty."""
    return f"`{text}`" if text else ""


def link(heading: str) -> str:
    """Link to a heading of the same page."""
    return f"[{heading}](#{heading.replace('.', '').replace(' ', '-')})"


def default_of(flag: Flag) -> str:
    """Return a flag's default; `off` for a switch that is off."""
    return flag.default or ("" if flag.kind else "off")


def of_flags(flags: Iterable[Flag]) -> list[str]:
    """Write a table of flags."""
    rows = ([code(flag.typed), code(default_of(flag)), flag.text] for flag in flags)
    return table(["flag", "default", "effect"], rows)


def section_tables(flags: Sequence[Flag]) -> list[str]:
    """Write the flags of a program, a table for each section that holds some of them."""
    lines: list[str] = []
    for section, shown in by_section(flags).items():
        lines += [f"### {TITLES.get(section, section.replace('_', ' '))}", "", *of_flags(shown)]
    return lines


def of_method(name: str) -> list[str]:
    """Write a method's own flags with their values in each preset, what else its presets set, and their texts."""
    presets = METHODS[name].presets
    configs = {preset: TrainConfig.of(name, preset) for preset in presets}
    values = {p: {f.name: default_of(f) for f in flags_of(config.hyper)} for p, config in configs.items()}
    own = flags_of(next(iter(configs.values())).hyper)
    rows = [[code(f.typed), *(code(values[p][f.name]) for p in presets), f.text] for f in own]
    lines = [f"### {name}", "", *table(["flag", *presets, "effect"], rows)]
    lines += [f"What else the presets of {name} set:", "", *table(["flag", *presets], _set_by(configs))]
    for preset, entry in presets.items():
        lines += [f"**{preset}**: {' '.join(cleandoc(entry.doc).split())}", ""]
    return lines


def _set_by(configs: Mapping[str, TrainConfig]) -> list[list[str]]:
    """Give the rows of the common flags that a preset sets, each with its value in every preset."""
    usual = _common({name: kind() for name, kind in SECTIONS.items()})
    values = [_common({name: getattr(config, name) for name in SECTIONS}) for config in configs.values()]
    changed = [flag for flag in usual if any(each[flag] != usual[flag] for each in values)]
    return [[code(flag), *(code(each[flag]) for each in values)] for flag in changed]


def _common(sections: Mapping[str, Any]) -> dict[str, str]:
    """Give the values of common flags by name."""
    return {flag.name: default_of(flag) for section in sections.values() for flag in flags_of(section)}


def flags_page() -> str:
    """Write flags.md: which flags there are, with their defaults."""
    train, tune = importlib.import_module("pipelines.train"), importlib.import_module("pipelines.tune")
    none = TrainConfig.of_no_method()
    common = flags_of(train.TrainOptions(none))
    known = {flag.name for flag in common}
    lines = [
        "# Flags", "", MADE, "",
        "Which flags does each program have, and what is their default? `PROGRAM --help` shows those that people use,",
        "`--help-all` every one. `[no-]` marks a switch that is on by default. No default: nothing is given.", "",
        f"{', '.join(map(link, ('train.py', 'tune.py', *OTHERS)))}. Methods: {', '.join(map(link, METHODS))}.",
        "", "## train.py", "",
        "Flags of all methods first, then each method's own. A preset's values go over these defaults.", "",
        *section_tables(common),
        *(line for name in METHODS for line in of_method(name)),
        "## tune.py", "",
        "All flags of train.py but `--config` and `--lr-may-rise`, and these:", "",
        *section_tables([f for f in flags_of(tune.TuneOptions(none, SweepConfig())) if _is_tunes(f, known)]),
    ]  # fmt: skip
    for program, (module, options) in OTHERS.items():
        made = getattr(importlib.import_module(module), options)()
        lines += [f"## {program}", "", *section_tables(flags_of(made))]
    return _page(lines)


def _is_tunes(flag: Flag, known: set[str]) -> bool:
    return flag.name not in known or flag.section == "sweep" or flag.name == "--dry-run"


# ---- metrics.md ----


def metrics_page() -> str:
    """Write metrics.md: which metrics there are, and how each is defined."""
    from i2i_core.evaluation.suite import FAMILIES

    lines = [
        "# Metrics", "", MADE, "",
        "What is measured, how is it defined, and which flag asks for it? `evaluate.py --metrics NAME ...` and",
        "`train.py --metrics NAME ...` take metrics and families; a metric brings its family. `basic` is always",
        "measured. `NAME/PART` is a metric of one attribute, domain or class. How to read them: docs/evaluation.md.",
        "",
    ]  # fmt: skip
    for family, entry in FAMILIES.items():
        asked = "always measured" if family == "basic" else f"`--metrics {family}`"
        lines += [f"## {family}", "", f"Asked for by: {asked}. Needs: {FAMILIES_NEED.get(family, '')}.", ""]
        head = ["metric", "better", *(["needs"] if family == "basic" else []), "definition"]
        needs = _basic_needs() if family == "basic" else {}
        rows = [
            [code(name), metric.better, *([needs.get(name, "")] if needs else []), metric.definition]
            for name, metric in entry.metrics.items()
        ]
        lines += table(head, rows)
    return _page(lines)


def _basic_needs() -> dict[str, str]:
    """Say of each metric of `basic` which data, method or flag it needs."""
    found = {}
    for module, needs in BASIC_NEEDS.items():
        for name in importlib.import_module(f"i2i_core.evaluation.families.{module}").METRICS:
            judged = "; `--classifier FILE` or `--train-classifier`" if name.startswith(CLASSIFIED) else ""
            found[name] = needs + judged
    return found


# ---- files.md ----


@dataclass(frozen=True)
class Written:
    """Name files that a program writes.

    Attributes:
        module: path of the module that names them.
        constants: constants of the module whose values name files; the string below each describes its file.
        listed: true if the module's docstring lists files, a line `NAME  DESCRIPTION` each.
        others: files that neither of the two names, described here.
    """

    module: str
    constants: tuple[str, ...] = ()
    listed: bool = False
    others: Mapping[str, str] = field(default_factory=dict)


FILES: dict[str, tuple[Written, ...]] = {
    "A run: STORAGE/NAME": (Written("i2i_core/runs/folder.py", listed=True),),
    "A checkpoint: STORAGE/NAME/checkpoints/images-N": (Written("i2i_core/checkpoints/checkpoint.py", listed=True),),
    "A data set: shard.py --out": (
        Written("i2i_core/data/format/manifest.py", ("MANIFEST",)),
        Written(
            "i2i_core/data/format/shards.py",
            ("INDEX", "PARTS"),
            others={
                "SPLIT-000000.tar": "Shards of a split: WebDataset tars, whose members KEY.FIELD make a sample.",
                "SPLIT-A-000000.tar": "Shards of one domain, A or B, of unpaired data.",
            },
        ),
    ),
    "A sweep: STORAGE/NAME of tune.py": (
        Written("i2i_core/orchestration/sweep.py", ("SWEEP",)),
        Written("i2i_core/search/study.py", ("STUDY", "DRIVER")),
        Written("i2i_core/runs/listing.py", ("TRIALS",)),
        Written(
            "i2i_core/search/report.py",
            others={
                "index.html": "The page of the sweep: table, best configuration and plots. It needs no other file.",
                "best.json": "The best trial's configuration, for `train.py --config`; of several metrics best-0.json, "
                "best-1.json, ...: the trials that no other beats in all of them.",
                "trials.csv": "Every trial: its values, its metrics and how it ended.",
                "plots": "Folder with Optuna's plots, as PNG.",
            },
        ),
    ),
    "An evaluation: evaluate.py --out FILE.json": (
        Written(
            "pipelines/evaluate.py",
            others={
                "FILE.json": "Every metric: value, count, definition, direction; the checkpoint and the data.",
                "FILE-samples.png": "The best, median and worst samples by the metric that ranks them.",
                "FILE-PICTURE.png": "A family's own picture, where it has one, such as FILE-colour.png.",
            },
        ),
    ),
    "A shared generator: share.py push": (Written("i2i_core/sharing/folder.py", listed=True),),
    "A study: study.py make --out FILE.html": (
        Written(
            "pipelines/study.py",
            others={
                "FILE.html": "The page that shows images to people. It needs no other file.",
                "answers-STUDY-PERSON.json": "What one person answered; the page saves it where the browser puts "
                "downloads.",
            },
        ),
    ),
    "Translations: translate.py --out FOLDER": (
        Written(
            "pipelines/translate.py",
            others={
                "NAME.png": "The translation of the image NAME; .npy where PNG cannot hold it. Several outputs of one "
                "image are NAME-0.png, NAME-1.png, ...",
                "FOLDER-sheet.png": "A sheet of the first images beside their translations, beside the folder.",
                "FOLDER-ledger": "A row for each input, as JSON lines: what was made of it, or why nothing was; and "
                "made_by.json, what the outputs depend on.",
            },
        ),
    ),
}


def described(written: Written) -> list[tuple[str, str]]:
    """List the files and their descriptions, read from the source; nothing is imported.

    Raises:
        ValueError: the module has no such constant.
    """
    tree = ast.parse((ROOT / written.module).read_text())
    values: dict[str, str] = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value))):
                values[name] = value
    if lacking := [name for name in written.constants if name not in values]:
        raise ValueError(f"{written.module} has no constant {lacking[0]} that is a string")
    texts = documented(tree.body)
    found = [(values[name], texts.get(name, "")) for name in written.constants]
    found += _listed(ast.get_docstring(tree) or "") if written.listed else []
    return [*found, *written.others.items()]


def _listed(text: str) -> list[tuple[str, str]]:
    """Read a docstring's list of files; further lines of a description are indented."""
    found: list[tuple[str, str]] = []
    for line in text.partition("\n\n")[2].splitlines():
        name, _, description = line.partition(" ")
        if name:
            found.append((name, description.strip()))
        elif found and line.strip():
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return [(name, f"{text[:1].upper()}{text[1:].rstrip('.')}.") for name, text in found]


def files_page() -> str:
    """Write files.md: which files each program writes."""
    lines = ["# Files", "", MADE, "", "Which files does each program write, and what is in them?", ""]
    for title, parts in FILES.items():
        rows = [[code(name), text] for part in parts for name, text in described(part)]
        lines += [f"## {title}", "", *table(["file", "content"], rows)]
    return _page(lines)


def _page(lines: Iterable[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


PAGES: dict[str, Callable[[], str]] = {"flags.md": flags_page, "metrics.md": metrics_page, "files.md": files_page}


def run() -> int:
    options = parse(ReferenceOptions(), "reference.py", sys.argv[1:])
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found, fix = f"{options.out} ({error.strerror})", "Name another."
        raise ConfigError("--out", found, "a folder that can be written", fix) from None
    for name, write in PAGES.items():
        (options.out / name).write_text(write())
        say(options.out / name)
    return 0


if __name__ == "__main__":
    main(run)
