"""Translate many images with a trained method, in this process or on many Ray workers, with the same bytes either way.

Images are taken in pieces in the order of the input (`translation/pieces.py`), and what becomes of each is written down
(`translation/ledger.py`), so that the same command goes on. `translation/translator.py` is what one worker does with a
piece; `translation/refining.py` writes the outputs as a data set instead of files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from i2i_core.batch import Bad
from i2i_core.checkpoints.trained import Trained, load_trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import ConfigError, ResourceError, RunError, UserError
from i2i_core.evaluation.families.attributes import columns_in, has, known_labels
from i2i_core.fields import PIXELS
from i2i_core.images.codec import ImageOptions
from i2i_core.images.sheet import contact_sheet, png_bytes
from i2i_core.methods import at_test
from i2i_core.methods.base import Direction, Method, knows_truth, sides
from i2i_core.methods.controls import Labels
from i2i_core.orchestration import pool
from i2i_core.orchestration.filming import translate_clips
from i2i_core.storage.paths import absolute
from i2i_core.storage.remote import is_local, storage_of
from i2i_core.storage.retry import AT_START, patient_for
from i2i_core.translation.clips import Filmed, check_clips, check_out_name, check_outputs, folder_of, stem_of
from i2i_core.translation.codes import codes_of, examples_of
from i2i_core.translation.inputs import (
    Clips,
    Counted,
    Files,
    Inputs,
    Split,
    check_names,
    ledger_of,
    load_inputs,
    open_inputs,
    sheet_of,
)
from i2i_core.translation.ledger import Ledger
from i2i_core.translation.loading import Loading, Sizing, own
from i2i_core.translation.pieces import AT_FIRST, Pieces, depends_on, room_at, run
from i2i_core.translation.refining import check_refinable, refine, refined_rows
from i2i_core.translation.said import NOTED, afterwards, cautions, first_size, laid_over, ratio, resized
from i2i_core.translation.targets import Target, parse_target_of
from i2i_core.translation.tiled import in_tiles
from i2i_core.translation.tiles import Tiling
from i2i_core.translation.translator import Row, TranslationJob, row_of
from i2i_core.translation.two import with_halves

logger = logging.getLogger(__name__)

SHEET_ROWS = 8
HELD = 2
"""Pieces that a worker has: one waits while it does the other."""
LOOKED_AT = 64 * SHEET_ROWS
"""Images from which those of the contact sheet are chosen."""


@dataclass(frozen=True)
class Translated:
    """Report a translation: how many images were written, which were left out, and where the contact sheet is."""

    written: int
    bad: tuple[Bad, ...]
    sheet: str
    """Its place; empty where it could not be written."""
    each: int = 1
    """Outputs of each image."""
    made_by: str = ""
    """The modes of batch norm and dropout in words, for networks that have them."""
    shown: int = 0
    """Images on the contact sheet."""
    films: tuple[Filmed, ...] = ()
    """The videos that were made of videos, which have no contact sheet; `written` counts the clips."""
    before: int = 0
    """Images that an earlier command made."""
    ledger: str = ""
    """Folder of the rows that say what became of each image; empty for a data set."""


def translate(checkpoint: str, options: TranslateOptions) -> Translated:
    """Translate the input that the options name with a checkpoint, or with a run's best one.

    Raises:
        UserError: checkpoint, input, target, sizes or output do not fit each other.
        RunError: a worker was lost, or not one image could be read.
    """
    checkpoint = absolute(checkpoint, "the checkpoint")
    options = replace(options, input=absolute(options.input, "--input"), out=absolute(options.out, "--out"))
    options = replace(options, shards_at=tuple(absolute(at, "--shards-at") for at in options.shards_at))
    trained = load_trained(checkpoint, torch.device("cpu"))
    with _no_empty_folder(folder_of(options.out)):
        return _translate(prepare_job(trained.url, trained, options), trained, options)


@contextmanager
def _no_empty_folder(out: str) -> Iterator[None]:
    """Remove a local folder again that the block has made, where the block fails before it holds anything."""
    fs, root = storage_of(out)
    new = bool(out) and is_local(fs) and not os.path.exists(root)
    try:
        yield
    except (UserError, RunError):
        if new:
            with suppress(OSError):  # it holds something
                os.rmdir(root)
        raise


def _translate(job: TranslationJob, trained: Trained, options: TranslateOptions) -> Translated:
    first, trained_at = _seen(job, first_size(job.inputs)), trained.stage.size
    where = pool.Where(options.workers, options.gpu, options.cpu)
    if isinstance(job.inputs, Clips):
        _caution(job, trained, options, first, 0)
        films, left_out = translate_clips(job, trained, options, where)
        made_by, each = at_test.words(trained.method.makers, trained.at_test(job.at_test)), len(job.titles)
        return Translated(len(films) // each, left_out, "", each, made_by, films=films)
    if options.shards:
        _caution(job, trained, options, first, 0)
        over = partial(pool.over, work=job, trained=trained, where=where, tries=pool.TRIES)
        refined = refine(job, trained, options.most, options.batch, options.overwrite, over)
        rows = refined_rows(job, SHEET_ROWS) if refined.written else []
        return _outcome(job, trained, refined.written, refined.bad, rows)
    job = replace(job, shown=shown_rows(job, _first(job, trained.method, options)))
    book = Ledger(job.out, depends_on(job, trained, options))
    with room_at(job.out):
        book.open(options.overwrite)
    _caution(job, trained, options, first, book.made)
    pieces = Pieces(job, book, options.batch, options.most, bool(trained.method.memory))
    try:
        done = pool.over(pieces, run, pieces.for_workers(), trained, where, pool.TRIES, HELD)
        with room_at(job.out), tqdm(total=pieces.count, unit=" images", smoothing=0) as bar, closing(done) as parts:
            for part in parts:
                pieces.add(part)
                _show(bar, pieces)
            _show(bar, pieces)
            book.close()
    except (UserError, RunError):
        book.forget()
        raise
    count = pieces.count or 0
    if pieces.far and not resized(options) and not (first and ratio(first, trained_at) >= NOTED):
        logger.info(afterwards(pieces, count, trained_at))
    if pieces.laid and options.background == TranslateOptions.background:
        keeps = {*_made_channels(trained.method, job.way)} <= {1, 3}
        logger.info(laid_over(pieces, count, options.background, keeps))
    return _finish(job, trained, pieces)


def _caution(
    job: TranslationJob, trained: Trained, options: TranslateOptions, first: tuple[int, int] | None, made: int
) -> None:
    for line in cautions(job.inputs, options, trained.stage.size, first, knows_truth(trained.method), made):
        logger.info(line)


def _show(bar: tqdm[Any], pieces: Pieces) -> None:
    """Show how far the translation is; its rate is that of images that were not made before."""
    bar.total, bar.initial = pieces.count, pieces.before
    bar.update(pieces.written + len(pieces.bad) - bar.n)


def _seen(job: TranslationJob, first: tuple[int, int] | None) -> tuple[int, int] | None:
    """Give the size of what the networks see of the first image: a half of it, where it holds two."""
    if first is None or not job.loading.half:
        return first
    height, width = first
    return (height, width // 2) if job.loading.half in ("left", "right") else (height // 2, width)


def _first(job: TranslationJob, method: Method[Any], options: TranslateOptions) -> list[int]:
    """List the positions of the first images that are translated, from which those of the contact sheet are chosen."""
    count = len(job.inputs.names)
    order = chain(*job.inputs.clips()) if method.memory else range(count)
    return [*islice(order, min(options.most or count, LOOKED_AT))]


@patient_for(AT_START)
def prepare_job(checkpoint: str, trained: Trained, options: TranslateOptions) -> TranslationJob:
    """Make the workers' job, and check everything that can be checked before one starts.

    Raises:
        UserError: as `translate`.
    """
    method = trained.method
    method.at_test = trained.at_test(options.at_test)
    if not options.out:
        raise ConfigError("--out", "nothing", "a folder or URL for the outputs", "Name it with --out.")
    if options.back and not method.two_way:
        raise ConfigError("--back", "a method that translates one way", "one that goes back", "Leave --back out.")
    way: Direction = "BtoA" if options.back else "AtoB"
    inputs = _inputs(trained, options, way)
    check_out_name(options.out, inputs)
    if isinstance(inputs, Clips):
        check_clips(inputs, options, method, way)
    if not options.shards:  # there, keys are names in a tar
        chosen = [i for clip in inputs.clips() for i in clip] if method.memory else None
        check_names(inputs, chosen)
    loading = _loading(trained, options, inputs, way)
    target, columns = _target(method, inputs, options.target)
    of_like = replace(loading, half="", ab=None, keep_alpha=False, large=False)
    flags: dict[str, Any] = {"samples": options.samples, "like": options.like, "interpolate": options.interpolate}
    job = TranslationJob(
        checkpoint,
        inputs,
        folder_of(options.out),
        target,
        columns,
        loading,
        frozenset(),
        codes_of(method, inputs, way, **flags, loading=of_like),
        examples_of(method, options.like, of_like, way),
        way,
        tuple(sides(method, way)[1]),
        options.at_test,
    )
    if options.shards:
        check_refinable(job, trained)
    elif isinstance(inputs, Clips):
        check_outputs(job, stem_of(options.out))
    else:
        check_apart(job)
    if options.tile:
        job = in_tiles(job, method, Tiling(options.tile, options.tile_norm))
    check_out(job.out)  # last: it makes the folder
    return job


def _loading(trained: Trained, options: TranslateOptions, inputs: Inputs, way: Direction) -> Loading:
    """Choose how images are read. Raises UserError where the flags do not fit each other, the method or the images."""
    ImageOptions(background=options.background)  # checks the colour
    method, sizing = trained.method, Sizing(options.resize_to, options.longer_side, options.scale)
    if options.keep_alpha:
        made = _made_channels(method, way)
        if options.shards or not {*made} <= {1, 3} or isinstance(inputs, Counted):
            found = "--shards" if options.shards else f"outputs of {made[0]} channels that are made of these inputs"
            expected = "grey or RGB images that are made of images, in files"
            raise ConfigError("--keep-alpha", found, expected, "Leave --keep-alpha out.")
    loading = Loading(sizing, options.background, options.keep_alpha, large=bool(options.tile))
    first = first_size(inputs) if isinstance(inputs, Files) and not options.whole else None
    return with_halves(loading, options, inputs, method, trained.config.data, way, first)


def _made_channels(method: Method[Any], way: Direction) -> list[int]:
    """List the channels of the images that are made of an input: with 1 or 3 they can get its transparency."""
    return [method.channels()[name] for name in sides(method, way)[1]]


def check_apart(job: TranslationJob) -> None:
    """Check that no output takes the place of an input. Raises ConfigError."""
    inputs = job.inputs
    fs, root = storage_of(job.out.rstrip("/") or job.out)
    if not isinstance(inputs, Files) or fs.protocol != inputs.fs.protocol:
        return
    below = {path for path in inputs.paths if path.startswith(f"{root}/")}
    if not below:
        return
    for i in range(len(inputs.names)):
        for output in range(len(job.titles)):
            for ending in ("png", "npy"):
                if (place := f"{root}/{job.name(i, output)}.{ending}") in below:
                    found = f"{job.out}, where an output would take the place of the input {place}"
                    raise ConfigError("--out", found, "another folder", "Name a new folder for the outputs.")


def _inputs(trained: Trained, options: TranslateOptions, way: Direction) -> Inputs:
    """Open the input; for methods that take no input, so many numbers."""
    method, data = trained.method, trained.config.data
    if not sides(method, way)[0]:
        if options.input:
            raise ConfigError(
                "--input", options.input, "nothing: this method makes images of no others", "Give --count."
            )
        if not options.count:
            raise ConfigError("--count", "0", "how many images are to be made", "Give --count N.")
        for flag in ("--size", "--longer-side", "--scale", "--ab", "--shards-at", "--shards"):
            if given := getattr(options, flag[2:].replace("-", "_")):
                expected = "nothing: images of codes have a size of their own, and no data set"
                raise ConfigError(flag, str(given), expected, f"Leave {flag} out.")
        return Counted(options.count)
    if options.count:
        expected = "none: this method makes an image of each input"
        raise ConfigError("--count", str(options.count), expected, "Leave it out; --most N takes the first N.")
    roles = {*sides(method, way)[0].values()}
    if resized(options) and ("points" in roles or not roles & (PIXELS | {"flow"})):
        expected = "none: vectors and points go through as they are"
        flag, _, given = Sizing(options.resize_to, options.longer_side, options.scale).flag.partition(" ")
        raise ConfigError(flag, given, expected, f"Leave {flag} out.")
    at_first = 0 if method.memory else AT_FIRST  # a clip's frames are ordered by their numbers
    split, out = options.split, options.out
    return open_inputs(options.input, out, split, method, data.direction, way, options.shards_at, at_first)


def _target(method: Method[Any], inputs: Inputs, text: str) -> tuple[Target | None, tuple[int, ...]]:
    """Parse the target, and find its attributes' columns in the input's labels.

    The columns are () for images without labels and, with a method trained on several data sets, for an input of
    another set than the target's.
    """
    if not method.control(Labels):
        if text:
            raise ConfigError("--target", repr(text), "none: this method has one output", "Leave --target out.")
        return None, ()
    target = parse_target_of(text, method.label_sets)
    if isinstance(inputs, Split) and inputs.data.manifest.attributes:
        known = target.known or known_labels(method, inputs.data.manifest, "--input")
        if has(inputs.data.manifest, known):
            return target, columns_in(inputs.data.manifest, known)
    if target.edit:
        fix = "Name all that is to be on, without signs: for example --target " + ",".join(target.names[:2]) + "."
        without = f"{text!r} for images without {'these ' if isinstance(inputs, Split) else ''}labels"
        raise ConfigError("--target", without, "a labelled data set as --input", fix)
    return target, ()


def check_out(out: str) -> None:
    """Check that outputs can be written. Raises ResourceError when they cannot."""
    fs, root = storage_of(out)
    try:
        fs.makedirs(root, exist_ok=True)
        fs.pipe_file(f"{root}/.probe", b"-")
        fs.rm(f"{root}/.probe")
    except Exception as error:  # each filesystem has its own kinds
        found = f"{out}, where writing fails ({error})"
        raise ResourceError("--out", found, "a place that can be written", "Name another.") from None


def shown_rows(job: TranslationJob, chosen: Sequence[int]) -> frozenset[int]:
    """Choose the images of the contact sheet: the first ones.

    In a labelled data set those come first that the target changes and whose truth is known.
    """

    def rank(i: int) -> int:
        label = job.whole_label(i)
        if label is None or not isinstance(job.inputs, Split):
            return 0
        changed = bool((label != job.inputs.labels[i]).any())
        return 2 - changed - (changed and job.inputs.twin(i, label) is not None)

    return frozenset(sorted(chosen[:LOOKED_AT], key=rank)[:SHEET_ROWS])


def rows_again(checkpoint: str, options: TranslateOptions, count: int) -> list[Row]:
    """Give rows of the contact sheet again, with the outputs as `translate` left them in a folder.

    Args:
        checkpoint, options: as they were given to `translate`.
        count: rows, at most SHEET_ROWS.

    Raises:
        UserError: as `translate`.
        FileNotFoundError: an output is not there.
    """
    trained = load_trained(absolute(checkpoint, "the checkpoint"), torch.device("cpu"))
    options = replace(options, input=absolute(options.input, "--input"), out=absolute(options.out, "--out"))
    job, method = prepare_job(trained.url, trained, options), trained.method
    chosen = sorted(shown_rows(job, _first(job, method, options)))[:count]
    return [_row_again(job, method, i) for i in chosen]


def _row_again(job: TranslationJob, method: Method[Any], i: int) -> Row:
    """Give a row of the contact sheet, with outputs of files. Raises FileNotFoundError where one is not there."""
    taken, channels = sides(method, job.way)[0], method.channels()
    inputs = load_inputs(job.inputs, i, taken, channels, job.loading)
    return row_of(job, i, inputs.values, [_made_before(job, i, k) for k in range(len(job.titles))])


def _made_before(job: TranslationJob, i: int, output: int) -> Tensor:
    """Read an output from its file."""
    fs, root = storage_of(job.out)
    path = f"{root}/{job.name(i, output)}"
    ending = "npy" if fs.exists(f"{path}.npy") else "png"
    return own((fs.cat_file(f"{path}.{ending}"), ending), f"the output {path}").x


def _finish(job: TranslationJob, trained: Trained, pieces: Pieces) -> Translated:
    """Draw the contact sheet, and sum up in the order of the input."""
    rows = pieces.rows
    for i in job.shown - rows.keys() - {i for i, _ in pieces.bad}:
        with suppress(FileNotFoundError):
            rows[i] = _row_again(job, trained.method, i)
    bad = tuple(bad for _, bad in sorted(pieces.bad, key=lambda one: one[0]))
    outcome = _outcome(job, trained, pieces.written, bad, [rows[i] for i in sorted(rows)])
    return replace(outcome, before=pieces.before, ledger=ledger_of(job.out))


def _outcome(
    job: TranslationJob, trained: Trained, written: int, bad: tuple[Bad, ...], rows: Sequence[Row]
) -> Translated:
    if not written:
        causes = "; ".join(f"{b.key}: {b.cause}" for b in bad[:3])
        raise RunError(f"not one image could be translated ({causes or 'the input is empty'})")
    columns = {title: [row[title] for row in rows] for title in (rows[0] if rows else ())}
    shown = {title: images for title, images in columns.items() if _any(images)}
    sheet = _write_sheet(job.out, png_bytes(contact_sheet(shown)))
    made_by = at_test.words(trained.method.makers, trained.at_test(job.at_test))
    return Translated(written, bad, sheet, len(job.titles), made_by, len(rows))


def _write_sheet(out: str, data: bytes) -> str:
    """Write the contact sheet, and give its place. It is no output: where it cannot be written, the log says so, and
    the place is empty."""
    if not (place := sheet_of(out)):
        logger.info(f"no contact sheet: it lies beside the folder of the outputs, and nothing lies beside {out}")
        return ""
    fs, path = storage_of(place)
    try:
        fs.pipe_file(path, data)
    except Exception as error:  # each filesystem has its own kinds
        logger.warning(f"no contact sheet: {place} cannot be written ({error}); the outputs are whole")
        return ""
    return place


def _any(column: Sequence[Tensor | None]) -> bool:
    return any(x is not None for x in column)
