"""Makes a data set: `python pipelines/shard.py --layout ab --input DIR --out URI`.

Images become WebDataset shards and a manifest, as parallel Ray tasks. A job that was stopped goes on
when the same command is given again; a finished one says so. docs/data.md shows the layouts.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from i2i_core.cli import flags, main, parse, with_flags
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format import shards, webdatasets
from i2i_core.data.format.manifest import Manifest
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import ConfigError
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import index_webdataset, make
from i2i_core.storage.paths import absolute

PROGRAM = "shard.py"
SECTIONS = {
    "layout": LayoutOptions(),
    "index": webdatasets.IndexOptions(),
    "glyphs": GlyphOptions(),
    "images": ImageOptions(),
    "shards": shards.ShardOptions(),
}
OWN = [("workers", int, -1, "Ray tasks at a time. 0: none, in this process; -1: as many as the cluster has CPUs.")]


def run() -> int:
    given = parse(flags(__doc__ or "", SECTIONS, OWN), PROGRAM, sys.argv[1:])
    options: dict[str, Any] = {name: with_flags(section, getattr(given, name)) for name, section in SECTIONS.items()}
    for name, field in (("shards", "out"), ("layout", "input"), ("index", "index")):
        place = absolute(getattr(options[name], field), f"--{field}")
        options[name] = replace(options[name], **{field: place})
    if given.workers < -1:
        raise ConfigError("--workers", str(given.workers), "-1, 0 or more", "Leave it out to use every CPU.")
    if options["index"].index:
        manifest, old = _index(options, given.workers)
        where = options["shards"].out or options["index"].index
    else:
        manifest, old = _shard(options, given.workers)
        where = options["shards"].out
    _report(manifest, old, where)
    return 0


def _index(options: dict[str, Any], workers: int) -> tuple[Manifest, bool]:
    if options["layout"].layout != "none":
        fix = "--layout makes shards of images, --index takes shards that are there."
        raise ConfigError("--index", f"--layout {options['layout'].layout} beside it", "one of the two", fix)
    return index_webdataset(options["index"], options["shards"], options["layout"].attributes, workers)


def _shard(options: dict[str, Any], workers: int) -> tuple[Manifest, bool]:
    layout, goal = options["layout"], options["shards"]
    shards.output_at(goal.out)  # a missing --out is told before the input is listed
    found = find(layout, options["glyphs"])
    for note in found.notes:
        print(f"note: {note}", flush=True)
    plan = shards.plan(found, layout, options["glyphs"], options["images"], goal)
    print(f"{plan.samples:,} samples in {len(plan.jobs):,} shards", flush=True)
    return make(plan, goal, workers)


def _report(manifest: Manifest, old: bool, where: str) -> None:
    left_out = manifest.made_by.get("left_out", [])
    if left_out:
        counts = manifest.made_by.get("left_out_counts", {})
        causes = f" ({', '.join(f'{n} {cause}' for cause, n in counts.items())})" if counts else ""
        print(f"left out, {len(left_out)}{causes}:")
        print("\n".join(f"  {line}" for line in left_out[:20]) + ("\n  ..." if len(left_out) > 20 else ""))
    print(manifest.describe())
    print(f"{'already finished' if old else 'finished'}: {where}")


if __name__ == "__main__":
    main(run)
