"""Write refined data sets, with many workers: a split with its images translated and all else unchanged.

This is SimGAN's purpose: refined images keep the annotations of the synthetic ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tqdm import tqdm

from i2i_core.batch import Bad
from i2i_core.checkpoints.trained import Trained
from i2i_core.data.format import shards
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.refined import Made, RefinedShard, check_stored, plan_refined, stored, write_refined
from i2i_core.data.reading.reader import Reader
from i2i_core.errors import ConfigError
from i2i_core.images.sheet import to_array
from i2i_core.methods.at_test import words
from i2i_core.methods.base import image_input
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import storage_of
from i2i_core.translation.inputs import Split
from i2i_core.translation.loading import loaded, own
from i2i_core.translation.translator import Row, TranslationJob, Translator, row_of

Over = Callable[
    [Sequence[RefinedShard], Callable[[Translator, RefinedShard], shards.FinishedShard]], Iterator[shards.FinishedShard]
]
"""Runs a task with a worker for each shard, and yields the results as they come."""


@dataclass(frozen=True)
class Refinement:
    """Report a refined data set: how many images were written, and which were left out."""

    written: int
    bad: tuple[Bad, ...]


def check_refinable(job: TranslationJob, trained: Trained) -> None:
    """Check that outputs can replace the images of a data set. Raises ConfigError where they cannot."""
    if not isinstance(job.inputs, Split):
        fix = "Make one with `python pipelines/shard.py`, or leave --shards out."
        raise ConfigError("--shards", "images that are no data set", "a data set as --input", fix)
    if job.codes is not None and job.codes.numbered:
        fix = "Leave --samples and --interpolate out, and give --like one file or `truth`."
        raise ConfigError("--shards", "several outputs of each image", "one: it takes the image's place", fix)
    if not image_input(trained.method) or trained.method.memory or len(job.made) > 1:
        found = f"a checkpoint that makes images of {', '.join(trained.method.inputs) or 'codes'}"
        raise ConfigError("--shards", found, "one that makes each image of one image", "Leave --shards out.")
    fs, root = storage_of(job.out)
    if fs.protocol == job.inputs.data.fs.protocol and root.rstrip("/") == job.inputs.data.root.rstrip("/"):
        raise ConfigError("--out", f"{job.out}, which is --input", "another folder", "Name a new folder.")
    made = trained.method.channels()[job.made[0]]
    kept = job.inputs.written.channels
    if trained.method.needs.domains == 2:  # the outputs take the place of the images that were read
        kept = job.inputs.field(job.inputs.column).channels
    if made != kept:
        fix = "Leave --shards out, or shard the data again with one `--channels` for all images, and train on that."
        raise ConfigError("--shards", f"a checkpoint that makes images of {made} channels", f"{kept}, as the data", fix)
    check_stored(job.inputs.written, f"--shards of {job.inputs.data.uri}")


def refine(job: TranslationJob, trained: Trained, most: int, batch: int, overwrite: bool, over: Over) -> Refinement:
    """Write the refined data set, or the shards still missing of it. Where no image can be translated, write none.

    Args:
        most: number of samples to refine, from the first on; 0: all.
        batch: samples of a shard that are translated at a time.
        overwrite: replace another data set.
        over: runs a task on the workers for every shard, and yields the results as they come.

    Raises:
        UserError: the output folder holds something else, or the networks cannot take an image.
    """
    inputs = _split(job)
    data = inputs.data
    work = plan_refined(data, inputs.split, inputs.domain, inputs.column, _made_by(job, trained), most)
    done = shards.begin(work, job.out, overwrite)
    if done is None:
        manifest = DataSet(job.out).manifest
        written = manifest.splits[inputs.split][inputs.domain].samples
        return Refinement(written, _bad(manifest.made_by["left_out"]))
    todo = [shard for shard in work.jobs if shard.name not in done]
    refined = {shard.name for shard in work.jobs if not shard.copied}
    total = sum(shard.stop - shard.start for shard in work.jobs)
    with tqdm(total=total, initial=sum(map(_count, done.values())), unit=" samples", smoothing=0) as bar:
        for part in over(todo, partial(write, work.column, batch)):
            done[part.shard.name] = part
            bar.update(_count(part))
    parts = [done[shard.name] for shard in work.jobs if shard.name in refined]
    written, bad = sum(p.shard.samples for p in parts), _bad([line for p in parts for line in p.left_out])
    if written:
        m = data.manifest
        shards.conclude(work, job.out, done, m.attributes, m.exclusive, m.domains, work.made_by)
    return Refinement(written, bad)


def _split(job: TranslationJob) -> Split:
    assert isinstance(job.inputs, Split), "checked by check_refinable"
    return job.inputs


def _count(part: shards.FinishedShard) -> int:
    return part.shard.samples + len(part.left_out)


def _bad(lines: Sequence[str]) -> tuple[Bad, ...]:
    """Parse the lines in which a shard lists the samples it left out."""
    return tuple(Bad(*line.partition(": ")[::2]) for line in lines)


def _made_by(job: TranslationJob, trained: Trained) -> dict[str, Any]:
    """Describe everything that the outputs depend on besides the images."""
    return {
        "method": trained.config.method,
        "images": trained.images,
        "checkpoint": trained.identity,
        "target": job.target.title if job.target else "",
        "columns": list(job.columns),
        **({} if job.examples is None else {"examples": sha256(job.examples.numpy().tobytes())}),
        "codes": "" if job.codes is None else repr(job.codes),
        "back": job.way == "BtoA",
        "size": job.loading.sizing.flag or 0,
        **({} if job.loading.background == "white" else {"background": job.loading.background}),
    } | ({"at_test": made_by} if (made_by := words(trained.method.makers, trained.at_test(job.at_test))) else {})


def write(column: int, batch: int, translator: Translator, shard: RefinedShard) -> shards.FinishedShard:
    """Write one refined shard, on one worker."""
    inputs = _split(translator.job)

    def images(rows: Sequence[int]) -> Mapping[int, Made | Bad]:
        read, bad = translator.load(rows)
        made: dict[int, Made | Bad] = {**bad}
        for image, outputs in translator.translated(read):
            if isinstance(outputs, Bad):
                made[image.i] = outputs
                continue
            (y,) = outputs
            label = translator.job.whole_label(image.i)
            labels = inputs.labels[image.i] if label is None else label
            data, field = stored(to_array(y, inputs.written.dtype), inputs.written)
            made[image.i] = Made(data, field, tuple(labels.tolist()))
        return made

    return write_refined(translator.job.out, inputs.data, column, shard, images, batch)


def refined_rows(job: TranslationJob, count: int) -> list[Row]:
    """Make rows of the contact sheet: the first samples of the finished data set beside their sources."""
    inputs, data = _split(job), DataSet(job.out)
    reader = Reader(data, inputs.split, inputs.domain)
    position = {name: i for i, name in enumerate(inputs.names)}
    ending = data.manifest.fields[inputs.fields[inputs.column]].extension
    rows = []
    for row in range(min(count, len(reader.rows))):
        i = position[reader.key(row)]
        (taken,) = inputs.columns
        source = loaded(inputs.fetch(i, taken), 0, job.loading, reader.key(row)).x
        made = own((reader.read([row], inputs.column)[0], ending), reader.key(row)).x
        rows.append(row_of(job, i, {taken: source}, [made]))
    return rows
