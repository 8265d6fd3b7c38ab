"""Make a data set of images: `python pipelines/shard.py --layout pairs --input DIR --out data/NAME`.

It writes WebDataset shards and a manifest, which train.py reads with --data. The same command goes on with a job that
was stopped, and says so when the data set is finished. docs/data.md shows the layouts of folders.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

try:
    from i2i_core import logs
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core.cli import main, parse, say
from i2i_core.config.common import SHARD
from i2i_core.data.folders.declared import FieldOptions
from i2i_core.data.folders.layouts import DRAWN, LayoutOptions, find
from i2i_core.data.format import shards, webdatasets
from i2i_core.data.format.manifest import Manifest
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.data.worlds.streets.samples import StreetOptions
from i2i_core.errors import ConfigError, counted
from i2i_core.images.codec import ImageOptions
from i2i_core.logs import Level
from i2i_core.names import printable
from i2i_core.settings import AUTO, MOST_PROCESSES, check_at_least, check_numbers, flag_of, setting
from i2i_core.storage.paths import absolute

PROGRAM = "shard.py"
MOST_NAMED = 20
"""Samples left out that are named on the screen."""
_METHODS = {"paired": "pix2pix", "unpaired": "cyclegan", "labelled": "stargan"}
"""A method for each kind of data set, to name when one is finished."""


_PERHAPS_IDS = {
    "palettes": "had a palette, and are stored as its colours; if they are label maps, --layout fields --field "
    "NAME:classes=PATTERN keeps their ids",
    "faint": "are all grey, with values below 64; if these are ids of classes, declare them: --layout fields --field "
    "NAME:classes=PATTERN",
}
"""What is said of images that may be label maps."""


@dataclass(frozen=True)
class MakeOptions:
    """Make a data set."""

    layout: LayoutOptions = field(default_factory=LayoutOptions)
    fields: FieldOptions = field(default_factory=FieldOptions)
    index: webdatasets.IndexOptions = field(default_factory=webdatasets.IndexOptions)
    glyphs: GlyphOptions = field(default_factory=GlyphOptions)
    streets: StreetOptions = field(default_factory=StreetOptions)
    images: ImageOptions = field(default_factory=ImageOptions)
    shards: shards.ShardOptions = field(default_factory=shards.ShardOptions)
    workers: int = setting(AUTO, auto=True, most=MOST_PROCESSES)
    """Shards that Ray writes at a time. 0: this process writes them, without Ray; -1: as many as the cluster has CPUs;
    auto: 0 for small inputs, else -1."""
    log_level: Level = "info"
    """Least severe messages to log. From warning on, the command to train with is not printed either."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, -1, "workers")

    @property
    def located(self) -> MakeOptions:
        """The options with places as absolute paths or URLs."""
        return replace(
            self,
            layout=replace(
                self.layout,
                input=absolute(self.layout.input, "--input"),
                input_b=absolute(self.layout.input_b, "--input-b"),
                pair_table=absolute(self.layout.pair_table, "--pair-table"),
            ),
            index=replace(self.index, index=absolute(self.index.index, "--index")),
            shards=replace(self.shards, out=absolute(self.shards.out, "--out")),
        )


def run() -> int:
    options = parse(MakeOptions(), PROGRAM, sys.argv[1:], __doc__ or "", SHARD).located
    logs.show(options.log_level)
    if options.layout.layout == "none" and not options.index.index:
        fix = "For example: shard.py --layout classes --input FOLDER --out data/NAME. docs/data.md shows each layout."
        raise ConfigError("--layout", "nothing", "how the images lie in --input", fix)
    manifest, old = (_index if options.index.index else _shard)(options)
    where = options.shards.out or options.index.index
    _report(manifest, old, where)
    if options.log_level in ("debug", "info"):
        _suggest(manifest, where)
    return 0


def _index(options: MakeOptions) -> tuple[Manifest, bool]:
    from i2i_core.orchestration.sharding import index_webdataset, rewrite_webdataset

    if options.layout.layout != "none":
        fix = "--layout makes shards of images, --index takes shards that are there."
        raise ConfigError("--index", f"--layout {options.layout.layout} beside it", "one of the two", fix)
    given = _given(sys.argv[1:])
    of_images = given & _flags(options.images)
    rewrites = options.index.rewrite or options.index.names.last_dot or bool(of_images)
    _check_beside_index(options, given, rewrites)
    if not rewrites:
        return index_webdataset(options.index, options.shards, options.layout.attributes, options.workers)
    if not options.shards.out:
        why = sorted(of_images)[0] if of_images else "--rewrite" if options.index.rewrite else "--keys last-dot"
        fix = f"Name a new folder for them, --out data/NAME; without {why} the tars stay as they are and get an index."
        raise ConfigError(why, "it without --out", "a place for the new shards", fix)
    return rewrite_webdataset(options.index, options.layout, options.images, options.shards, options.workers)


def _given(arguments: Sequence[str]) -> set[str]:
    """Name the flags that are given, with dashes; of `--no-x` it is `--x`."""
    names = {word.partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--")}
    return names | {"--" + name.removeprefix("--no-") for name in names if name.startswith("--no-")}


def _flags(section: Any) -> set[str]:
    return {flag_of(each) for each in fields(section)}


_OF_NEW_SHARDS = {"--split", "--group-by", "--seed", "--direction", "--shard-samples", "--shard-bytes"}
"""Flags that say something of shards that --index writes anew, and nothing of an index."""


def _check_beside_index(options: MakeOptions, given: set[str], rewrites: bool) -> None:
    """Refuse flags that change nothing beside --index. Raises ConfigError, which names the first."""
    others = (options.layout, options.fields, options.glyphs, options.streets, options.shards)
    known = {"--attributes", "--out", "--bad", "--overwrite"} | (_OF_NEW_SHARDS if rewrites else set())
    for flag in sorted(given & {flag for section in others for flag in _flags(section)} - known):
        fix = "Leave it out."
        if flag in _OF_NEW_SHARDS:
            fix = "Leave it out; or have the samples written anew: --rewrite --out data/NAME."
        raise ConfigError(flag, "it beside --index", "flags that change what an index says", fix)


def _shard(options: MakeOptions) -> tuple[Manifest, bool]:
    from i2i_core.orchestration.sharding import make

    _check_places(options)
    found = find(options.layout, options.glyphs, options.fields, options.streets)
    for note in found.notes:
        say(f"note: {note}")
    plan = shards.plan(found, options.layout, options.glyphs, options.images, options.shards)
    say(f"{counted(plan.samples, 'sample')} in {counted(len(plan.jobs), 'shard')}")
    return make(plan, options.shards, options.workers)


def _check_places(options: MakeOptions) -> None:
    """Refuse missing places, both at once, and an output among the input's images. Raises ConfigError."""
    drawn = options.layout.layout in DRAWN
    given = {"--input": options.layout.input or options.layout.pair_table or drawn, "--out": options.shards.out}
    if missing := [flag for flag, place in given.items() if not place]:
        expected = (
            "a folder or URL with images, and a new one for the data set" if len(missing) > 1 else "a folder or URL"
        )
        fix = f"For example: shard.py --layout {options.layout.layout} --input FOLDER --out data/NAME."
        raise ConfigError(" and ".join(missing), "nothing", expected, fix)
    if options.shards.out in (options.layout.input, options.layout.input_b):
        fix = "Name a new folder, such as data/NAME."
        raise ConfigError("--out", f"{options.shards.out}, which holds the images", "a folder of its own", fix)


def _report(manifest: Manifest, old: bool, where: str) -> None:
    left_out = manifest.made_by.get("left_out", [])
    if left_out:
        counts = manifest.made_by.get("left_out_counts", {})
        causes = f" ({', '.join(f'{n} {cause}' for cause, n in counts.items())})" if counts else ""
        more = ["  ..."] if len(left_out) > MOST_NAMED else []
        say(f"left out, {len(left_out)}{causes}:", *(f"  {printable(line)}" for line in left_out[:MOST_NAMED]), *more)
    if transparent := manifest.made_by.get("transparent"):
        background = manifest.made_by["images"]["background"]
        say(f"{transparent:,} samples have transparent pixels, which are laid over {background}: --background COLOUR")
        say("  takes another colour, --keep-alpha keeps transparency as a channel")
    if converted := manifest.made_by.get("converted"):
        kept = manifest.made_by["images"]["keep_alpha"]
        what = "grey or opaque images, stored with all channels" if kept else "grey images, stored as colour"
        apart = ", --channels 1 --channels-b 3 those of A alone" if manifest.kind == "unpaired" else ""
        say(f"{counted(converted, 'sample')} held {what} like the others: --channels 1 makes all grey{apart}")
    if animated := manifest.made_by.get("animated"):
        say(f"{counted(animated, 'sample')} held images of several frames, of which the first is taken: a folder of")
        say("  the frames of each keeps all of them, as a clip: --layout fields --field image={clip}/{frame}.png")
    if unequal := manifest.made_by.get("unequal"):
        say(f"{counted(unequal, 'sample')} held images that differ in shape (width over height): cut to one size, they")
        say("  show other parts of the scene. --fit square --load-size N stretches both alike; or cut them first")
    for what, why in _PERHAPS_IDS.items():
        counts = manifest.made_by.get(what)  # `indexed` of tars that were indexed is their checksum
        for name, count in counts.items() if isinstance(counts, dict) else ():
            say(f"{counted(count, 'image')} ({printable(name)}) {why}")
    if other := _cut_the_other_way(manifest):
        say(other)
    say(manifest.describe())
    say(f"{'already finished' if old else 'finished'}: {where}")


def _cut_the_other_way(manifest: Manifest) -> str:
    """Say so where the halves of images are so narrow that they may be cut wrongly; else nothing."""
    layout = manifest.made_by.get("layout", {})
    if layout.get("layout") != "ab":
        return ""
    a, stacked = manifest.fields["a"], bool(layout.get("stacked"))
    long, short = (a.width, a.height) if stacked else (a.height, a.width)
    halves = f"halves of {a.width}x{a.height} pixels"
    if short and long >= 3 * short:
        other = "beside each other, leave --stacked out" if stacked else "one above the other, give --stacked"
        return f"{halves}: if A and B lie {other} (and --overwrite)"
    if short and long >= 1.9 * short:
        return (
            f"{halves}, of square images: if each is one image and not A beside B, another layout fits (docs/data.md)"
        )
    return ""


def _suggest(manifest: Manifest, where: str) -> None:
    """Print the command that trains on the data set."""
    method = _METHODS.get(manifest.kind)
    if manifest.kind == "labelled" and len(manifest.attributes) < 1 + manifest.exclusive:
        say("one class, or none: train.py --method stargan needs two; put the images of each into a folder of its own")
        return
    if method:
        name = shlex.quote(where.rstrip("/").rpartition("/")[2])
        program = f"python pipelines/train.py --method {method} --preset demo --data {shlex.quote(where)} --name {name}"
        if any(field.channels_b for field in manifest.fields.values()):
            program += " --lambda-id 0"
        say(f"train on it with: {program}")
        say("  demo is small and takes minutes; without --preset a run has the sizes of the authors' own program")


if __name__ == "__main__":
    main(run)
