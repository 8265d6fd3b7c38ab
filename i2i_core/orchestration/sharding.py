"""Shards as parallel Ray tasks, or one after the other in this process."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from i2i_core.data.folders import layouts
from i2i_core.data.format import shards, webdatasets
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.worlds import glyphs
from i2i_core.errors import ConfigError
from i2i_core.fields import Kind
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration import pool
from i2i_core.storage.paths import absolute

logger = logging.getLogger(__name__)

BUILTIN = "data/glyphs-{kind}-{size}"
"""Where the built-in data sets are kept, below the current folder."""


def make(plan: shards.Plan, options: shards.ShardOptions, workers: int = -1) -> tuple[Manifest, bool]:
    """Write the data set of a plan, or what is missing of it: its manifest, and whether it was there already.

    Raises:
        DataError: the output holds something else, an image cannot be read, images do not agree.
        ResourceError: the output cannot be written.
    """
    done = shards.begin(plan, options.out, options.overwrite)
    if done is None:
        return DataSet(options.out).manifest, True
    out = shards.output_at(options.out).absolute
    todo = [job for job in plan.jobs if job.name not in done]
    with tqdm(total=plan.samples, unit=" samples", initial=sum(map(_count, done.values())), smoothing=0) as bar:
        for part in pool.each([(out, plan.recipe, job, options.bad) for job in todo], shards.write_shard, workers):
            done[part.shard.name] = part
            shards.agree_all([p for p in done.values() if p.shard.samples] or [part], part.left_out)
            bar.update(_count(part))
    return shards.finish(plan, options.out, done), False


def _count(part: shards.FinishedShard) -> int:
    return part.shard.samples + len(part.left_out)


def index_webdataset(
    options: webdatasets.IndexOptions,
    goal: shards.ShardOptions | None = None,
    attributes: tuple[str, ...] = (),
    workers: int = -1,
) -> tuple[Manifest, bool]:
    """Make an existing WebDataset a data set, its tars untouched: its manifest, and whether it was one already.

    Raises:
        DataError: what the tars hold cannot be told, is damaged, or does not agree.
    """
    goal = goal or shards.ShardOptions()
    attributes = tuple(part for name in attributes for part in name.split(",") if part)
    tars = webdatasets.list_tars(options, attributes)
    old, apart = webdatasets.begin_index(tars, goal.out, goal.overwrite), tars.apart(goal.out)
    if apart:
        logger.warning(f"these tars lie outside the data set's folder: read it with --shards-at {shlex.join(apart)}")
    if old:
        return DataSet(goal.out or tars.uri, apart).manifest, True
    scanned: dict[str, webdatasets.Scanned] = {}
    with tqdm(total=sum(tars.sizes.values()), unit="B", unit_scale=True, smoothing=0) as bar:
        for tar in pool.each([(tars.root, name, goal.bad) for name in tars.sizes], webdatasets.scan, workers):
            scanned[tar.shard.name] = tar
            bar.update(tar.shard.bytes)
    return webdatasets.finish_index(tars, scanned, options, attributes, goal.out, goal.bad), False


def shard_glyphs(
    out: str, kind: Kind, size: int, *, workers: int = 0, seed: int = 0, **options: Any
) -> tuple[Manifest, bool]:
    """Make the built-in glyphs a data set at `out`, unless it is there.

    Args:
        options: others of `glyphs.GlyphOptions` (variant, colour, characters, ...).
    """
    assert kind != "fields", "checked by builtin_data"
    glyph = glyphs.GlyphOptions(glyphs=kind, size=size, **options)
    layout = layouts.LayoutOptions(layout="glyphs", seed=seed)
    goal = shards.ShardOptions(out=out)
    return make(shards.plan(layouts.find(layout, glyph), layout, glyph, ImageOptions(), goal), goal, workers)


def builtin_data(kind: Kind, size: int, options: Mapping[str, Any]) -> str:
    """Find the built-in glyphs of that kind, size and options; they are made and announced on first use."""
    if kind == "fields":
        fix = "Name one with --data; docs/data.md says how to make it."
        raise ConfigError("--data", "nothing, and no glyphs have the fields that the method reads", "a data set", fix)
    named = "".join(f"-{_word(name, value)}" for name, value in options.items())
    out = absolute(BUILTIN.format(kind=kind, size=size) + named, "--data")
    logger.info(f"no --data given: the built-in glyphs, {kind}, {size} px, in {out}")
    manifest, _ = shard_glyphs(out, kind, size, **options)
    logger.info(manifest.describe())
    return out


def _word(name: str, value: Any) -> str:
    """An option in the name of a folder."""
    if value is True:
        return name.replace("_", "-")
    return "-".join(value) if isinstance(value, tuple) else str(value)
