"""Write shards as parallel Ray tasks, or one after the other in this process."""

from __future__ import annotations

import atexit
import logging
import shlex
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from tqdm import tqdm

from i2i_core.data.folders import layouts
from i2i_core.data.format import rewriting, shards, tar_samples, unpacking, webdatasets
from i2i_core.data.format.manifest import MANIFEST, DataSet, Manifest
from i2i_core.data.worlds import glyphs
from i2i_core.data.worlds.streets.samples import StreetOptions
from i2i_core.errors import ConfigError, ResourceError, UserError, counted
from i2i_core.fields import Kind
from i2i_core.images.codec import ImageOptions
from i2i_core.names import listed
from i2i_core.orchestration import pool
from i2i_core.settings import AUTO, Auto
from i2i_core.sizes import Fit, Size, said, sides
from i2i_core.storage.folder import Folder
from i2i_core.storage.leftovers import TemporaryFolder
from i2i_core.storage.paths import absolute

logger = logging.getLogger(__name__)

FEW_SAMPLES = 10_000
FEW_BYTES = 100_000_000
"""Samples, and bytes of their files, up to which this process alone is done before Ray has started: some 10 s."""
BUILTIN = "data/glyphs-{kind}-{size}"
SKETCHED = 40
"""Characters that a dry run draws where there is no data set yet."""
"""Folder of a built-in data set, below the current one."""


def make(plan: shards.Plan, options: shards.ShardOptions, workers: int = AUTO) -> tuple[Manifest, bool]:
    """Write the data set of a plan, or what is missing of it.

    Args:
        plan: says which samples go into which shard.
        options: where the data set goes.
        workers: as `pool.each`; AUTO: chosen by `chosen_workers`.

    Returns:
        The manifest, and whether the data set was there already.

    Raises:
        DataError: the output holds something else, an image cannot be read, images do not agree.
        ConfigError: an annotation has the name of an image.
        ResourceError: the output cannot be written.
    """
    done = shards.begin(plan, options.out, options.overwrite)
    if done is None:
        return DataSet(options.out).manifest, True
    if plan.lone:
        place = shards.list_lone(plan, options.out)
        what = "images" if plan.recipe.kind == "paired" else "images and rows"
        logger.warning(f"{len(plan.lone):,} {what} without a partner are left out: {place} lists them")
    try:
        _write(plan, options, done, workers)
        return shards.finish(plan, options.out, done), False
    except UserError as error:
        if not isinstance(error, ResourceError):  # storage may come back; the input stays as it is
            shards.give_up(plan, options.out)
        raise


def _write(
    plan: shards.Plan, options: shards.ShardOptions, done: dict[str, shards.FinishedShard], workers: int
) -> None:
    """Write the shards that are not done, and note each in `done`. Raises as `make`."""
    out = shards.output_at(options.out).absolute
    todo = [job for job in plan.jobs if job.name not in done]
    if todo and isinstance(workers, Auto):
        records = [record for job in todo for record in job.records]
        workers = chosen_workers(len(todo), len(records), sum(record.bytes for record in records))
    recipe, again = (plan.recipe, todo) if todo else shards.in_more_channels(plan, done)
    while again:
        units = [(out, recipe, job, options.bad) for job in again]
        written = plan.samples - sum(len(job.records) for job in again)
        with (
            tqdm(total=plan.samples, unit=" samples", initial=written, smoothing=0, desc=_words(recipe)) as bar,
            closing(pool.each(units, shards.write_shard, workers)) as parts,  # closed: no task writes after an error
        ):
            for part in parts:
                done[part.shard.name] = part
                first = next((p for p in done.values() if p.shard.samples), part)  # all agree, if each does with one
                both = [p for p in (first, part) if p.shard.samples] or [part]
                if not shards.differ_in_channels(plan, both):
                    shards.agree_all(both, part.left_out)
                bar.update(_count(part))
        recipe, again = shards.in_more_channels(plan, done)


def _words(recipe: shards.Recipe) -> str | None:
    """Say on the progress bar why shards are written again."""
    return "again, as images differ in channels" if recipe.channels else None


def chosen_workers(units: int, samples: int, size: int) -> int:
    """Choose the workers for some units of work, as `pool.each` takes them, and log which and why.

    Args:
        units: shards to write or tars to read; each is one task.
        samples: how many samples they hold; 0: not known yet.
        size: bytes to read.

    Returns:
        0 (this process) for work that takes less time than Ray takes to start; else -1 (every CPU of the cluster).
    """
    of = f"{samples:,} samples, {size / 1e6:,.0f} MB" if samples else f"{size / 1e6:,.0f} MB"
    if units < 2 or (samples <= FEW_SAMPLES and size <= FEW_BYTES):
        logger.info(f"--workers 0, chosen: {of} in {units} shards, which takes less time than starting Ray")
        return 0
    logger.info(f"--workers -1, chosen: {of} in {units} shards, on every CPU of the cluster")
    return -1


def _count(part: shards.FinishedShard) -> int:
    return part.shard.samples + len(part.left_out)


def index_webdataset(
    options: webdatasets.IndexOptions,
    goal: shards.ShardOptions | None = None,
    attributes: tuple[str, ...] = (),
    workers: int = AUTO,
) -> tuple[Manifest, bool]:
    """Make an existing WebDataset a data set, its tars untouched.

    Args:
        options: where the tars are.
        goal: where indexes and manifest go; None: beside the tars.
        attributes: names of the labels' attributes; none: those that the samples have.
        workers: as `pool.each`; AUTO: chosen by `chosen_workers`.

    Returns:
        The manifest, and whether the tars were indexed already.

    Raises:
        ConfigError: an option that is for new shards.
        DataError: what the tars hold cannot be told, is damaged, or does not agree.
    """
    if options.rewrite or options.names.last_dot:
        flag = "--rewrite" if options.rewrite else "--keys last-dot"
        fix = "Name a place for the new shards as well: --rewrite --out data/NAME."
        raise ConfigError(flag, "it for an index of the tars as they are", "new shards", fix)
    goal = goal or shards.ShardOptions()
    attributes = tuple(part for text in attributes for part in listed(text))
    tars = webdatasets.list_tars(options, attributes)
    old, apart = webdatasets.begin_index(tars, goal.out, goal.overwrite), tars.apart(goal.out)
    if apart:
        given = shlex.join(apart)
        logger.warning(f"these tars lie outside the data set's folder; to read it, give --shards-at {given}")
    if old:
        return DataSet(goal.out or tars.uri, apart).manifest, True
    return webdatasets.finish_index(
        tars, _scanned(tars, options, goal.bad, workers), options, attributes, goal.out, goal.bad
    ), False


def _scanned(
    tars: webdatasets.Tars, options: webdatasets.IndexOptions, bad: str, workers: int, again: bool = False
) -> dict[str, tar_samples.Scanned]:
    """Read all tars, by name; `again`: to write their samples again."""
    if isinstance(workers, Auto):
        workers = chosen_workers(len(tars.sizes), 0, sum(tars.sizes.values()))
    scanned: dict[str, tar_samples.Scanned] = {}
    units = [(tars.root, name, bad, options.names, again) for name in tars.sizes]
    with tqdm(total=sum(tars.sizes.values()), unit="B", unit_scale=True, smoothing=0) as bar:
        for tar in pool.each(units, tar_samples.scan, workers):
            scanned[tar.shard.name] = tar
            bar.update(tar.shard.bytes)
    return scanned


def rewrite_webdataset(
    options: webdatasets.IndexOptions,
    layout: layouts.LayoutOptions,
    images: ImageOptions,
    goal: shards.ShardOptions,
    workers: int = AUTO,
) -> tuple[Manifest, bool]:
    """Write the samples of an existing WebDataset into new shards, as those of a folder.

    Args:
        options: where the tars are.
        layout: attributes, splits, groups, seed and direction.
        images: what is done to images.
        goal: where the data set goes, and how it is cut.
        workers: as `pool.each`; AUTO: chosen by `chosen_workers`.

    Returns:
        The manifest, and whether the data set was there already.

    Raises:
        ConfigError: no place, or one among the tars.
        DataError: as `index_webdataset` and `make`.
    """
    tars = webdatasets.list_tars(options, layout.names_of_attributes, again=True)
    rewriting.check_output(tars, goal)
    digest = rewriting.checksum(tars, layout, images, goal)
    if rewriting.is_done(digest, goal.out):
        return DataSet(goal.out).manifest, True
    if packed := [name for name in tars.sizes if unpacking.is_read(name)]:
        logger.info(f"{counted(len(packed), 'compressed tar')}: this process unpacks and writes them, without workers")
        workers = 0  # other nodes do not see its temporary folder
    with unpacking.unpacked(tars) as plain:
        scanned = _scanned(plain, options, goal.bad, workers, again=True)
        found = rewriting.found_in(plain, scanned, options, layout, goal.bad, digest)
        for note in found.notes:
            logger.info(note)
        plan = shards.plan(found, layout, glyphs.GlyphOptions(), images, goal)
        logger.info(f"{plan.samples:,} samples in {len(plan.jobs):,} shards")
        return make(plan, goal, workers)


def shard_glyphs(
    out: str, kind: Kind, size: int, *, workers: int = 0, seed: int = 0, **options: Any
) -> tuple[Manifest, bool]:
    """Make the built-in glyphs a data set at `out`, unless it is there.

    Args:
        options: others of `glyphs.GlyphOptions` (variant, colour, characters, ...); `glyphs` replaces the kind.
    """
    assert kind != "fields", "checked by builtin_data"
    glyph = glyphs.GlyphOptions(**{"glyphs": kind, "size": size, **options})
    layout = layouts.LayoutOptions(layout="glyphs", seed=seed)
    goal = shards.ShardOptions(out=out)
    return make(shards.plan(layouts.find(layout, glyph), layout, glyph, ImageOptions(), goal), goal, workers)


def shard_streets(
    out: str, options: StreetOptions | None = None, *, workers: int = 0, seed: int = 0
) -> tuple[Manifest, bool]:
    """Make the built-in streets a data set at `out`, unless it is there."""
    layout, glyph = layouts.LayoutOptions(layout="streets", seed=seed), glyphs.GlyphOptions()
    goal, found = shards.ShardOptions(out=out), layouts.find(layout, street=options)
    return make(shards.plan(found, layout, glyph, ImageOptions(), goal), goal, workers)


def builtin_data(
    kind: Kind, image_size: Size, options: Mapping[str, Any], sketch: bool = False, fit: Fit = "shorter"
) -> str:
    """Find the built-in glyphs of that kind, size and options; on first use they are made, and the log says where.

    Args:
        image_size: of the run's training images.
        fit: of the run. Glyphs are drawn in squares, so that other sizes need padding.
        sketch: whether a few characters in a temporary folder do where there are none yet, as for a dry run. The folder
            is removed when the program ends.
    """
    if kind == "fields":
        fix = "Name one with --data; docs/data.md says how to make it."
        raise ConfigError("--data", "nothing, and no glyphs have the fields that the method reads", "a data set", fix)
    size = min(sides(image_size))
    if fit not in ("pad", "square") and size != max(sides(image_size)):
        expected = "a square: the built-in glyphs are drawn in squares, which would be cut"
        fix = f"Give --image-size {size}, or --fit pad, which keeps each glyph whole; or your own images with --data."
        raise ConfigError("--image-size", f"{said(image_size)}, without --data", expected, fix)
    named = "".join(f"-{_word(name, value)}" for name, value in options.items())
    out = absolute(BUILTIN.format(kind=kind, size=size) + named, "--data")
    logger.info(f"no --data given: the built-in glyphs, {kind}, {size} px, in {out}")
    if sketch and not Folder(out).exists(MANIFEST):
        logger.info(f"a run draws them when it first starts; to check the rest, {SKETCHED} characters do")
        temporary = TemporaryFolder("sketch")
        atexit.register(temporary.cleanup)
        out, options = f"{temporary.name}/glyphs", {**options, "characters": SKETCHED}
    manifest, _ = shard_glyphs(out, kind, size, **options)
    logger.info(manifest.describe())
    return out


def _word(name: str, value: Any) -> str:
    """Spell an option in the name of a folder."""
    if value is True:
        return name.replace("_", "-")
    return "-".join(value) if isinstance(value, tuple) else str(value)
