"""Word what a translation is about to do, before it starts: which images, of which size, where to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Protocol

from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import counted
from i2i_core.images import large_png
from i2i_core.images.codec import decode_picture
from i2i_core.images.containers import is_video
from i2i_core.sizes import Size, sides, written
from i2i_core.storage.remote import files_below, storage_of
from i2i_core.translation.inputs import Clips, Files, Inputs, Split
from i2i_core.translation.loading import holds_two

NOTED, FAR = 1.25, 2.0
"""Ratios of an image's shorter side to training's, or the other way round, from which on a network sees other things
than it learnt from: that of the first image is noted before it is translated, those of others once they are."""
MOST_COUNTED = 10_000
"""Files that are counted in a folder for the outputs."""


class Far(Protocol):
    """Count images whose size is far from training's."""

    @property
    def far(self) -> int: ...
    @property
    def first_far(self) -> tuple[int, int, int, str] | None:
        """Position, height, width and name of the first."""


class Laid(Protocol):
    """Count images whose transparent pixels were laid over a colour."""

    @property
    def laid(self) -> int: ...
    @property
    def first_laid(self) -> tuple[int, str] | None:
        """Position and name of the first."""


def ratio(size: tuple[int, ...], trained_at: Size) -> float:
    """Compare the shorter sides of an image (height, width) and of training's images; at least 1."""
    found, wanted = min(size), min(sides(trained_at))
    return max(found / wanted, wanted / found)


def covering(size: tuple[int, int], trained_at: Size) -> int:
    """Compute the shorter side of an image (height, width) that covers training's images, with its shape kept."""
    rows, columns = sides(trained_at)
    return max(1, round(min(size) * max(rows / size[0], columns / size[1])))


def cautions(
    inputs: Inputs,
    options: TranslateOptions,
    trained_at: Size,
    first: tuple[int, int] | None,
    paired: bool = False,
    made: int = 0,
) -> Iterator[str]:
    """Give lines for the log, before anything is written.

    Args:
        inputs: what is translated.
        options: of the command.
        trained_at: size of the run's training images, in pixels.
        first: (height, width) of the first image as the networks see it; None: not known.
        paired: true if the run was trained on pairs, which people often keep as images that hold both.
        made: images that the same command has made before.
    """
    yield _which(inputs)
    if isinstance(inputs, Files) and inputs.left_out:
        yield f"left out of what --input matches: {inputs.left_out}"
    if first and not resized(options) and ratio(first, trained_at) >= NOTED:
        yield (
            f"images go through at their own size, the first at {written(first)} pixels (width x height); the run "
            f"trained at {written(trained_at)}: --size {covering(first, trained_at)} resizes them"
        )
    height, width = sides(trained_at)
    unsaid = paired and isinstance(inputs, Files) and not (options.ab or options.whole)
    if first and unsaid and holds_two(first, (height, 2 * width)):
        yield "the first image is as wide as two: if each holds A and B side by side, --ab takes one of them"
    if is_video(options.out):
        fs, path = storage_of(options.out)
        if fs.exists(path):
            yield f"{options.out} is there already, and is replaced"
    elif made:
        yield f"going on: {counted(made, 'image')} in {options.out} that the same command has made before"
    elif there := _there(options.out):
        files = counted(there, "file") if there < MOST_COUNTED else f"{MOST_COUNTED:,} files or more"
        yield f"{options.out} holds {files} already; those of the same names are replaced"


def resized(options: TranslateOptions) -> bool:
    """Tell whether a size is asked for."""
    return bool(options.size or options.longer_side or options.scale)


def afterwards(far: Far, count: int, trained_at: Size) -> str:
    """Word which images had a size far from training's.

    Args:
        far: how many they are, and the first.
        count: images in all.
    """
    assert far.first_far, "asked for where there is one"
    _, height, width, name = far.first_far
    first = height, width
    return (
        f"{far.far:,} of {counted(count, 'image')} had sizes {FAR:g} times training's or more, or less than it by as "
        f"much; the first, {name}, {written(first)} pixels where the run trained at {written(trained_at)}: --size "
        f"{covering(first, trained_at)} --overwrite resizes them"
    )


def laid_over(found: Laid, count: int, background: str, keeps: bool) -> str:
    """Word which images had transparent pixels that were laid over a colour.

    Args:
        found: how many they are, and the first.
        count: images in all.
        keeps: true if outputs can get the transparency of their inputs.
    """
    assert found.first_laid, "asked for where there is one"
    kept = "; --keep-alpha --overwrite gives outputs their transparency back" if keeps else ""
    return (
        f"{found.laid:,} of {counted(count, 'image')} had transparent pixels, which were laid over {background}; the "
        f"first, {found.first_laid[1]}: --background COLOUR --overwrite takes another colour{kept}"
    )


def _which(inputs: Inputs) -> str:
    count = len(inputs.names)
    if isinstance(inputs, Files) and inputs.more:
        return f"input: more than {count:,} images, which are listed while they are translated"
    if isinstance(inputs, Split):
        others = [name for name in inputs.data.manifest.splits if name != inputs.split]
        besides = f" (it also has {', '.join(others)}: --split NAME)" if others else ""
        return f"input: the {count:,} samples of split {inputs.split} of {inputs.data.uri}{besides}"
    if not isinstance(inputs, Files):
        return f"input: none; {count:,} codes, drawn by their numbers"
    folders = Counter(path.rpartition("/")[0] for path in inputs.paths)
    several = f" in {len(folders)} folders: {_some([*folders])}" if len(folders) > 1 else ""
    return f"input: {counted(count, 'video' if isinstance(inputs, Clips) else 'image')}{several}"


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def first_size(inputs: Inputs) -> tuple[int, int] | None:
    """Give height and width of the first image; None where there is none that can be read: it is named later."""
    if isinstance(inputs, Split):
        field = inputs.data.manifest.fields[inputs.fields[max(inputs.column, 0)]]
        return (field.height, field.width) if field.height and field.width else None
    if isinstance(inputs, Clips):
        return _frame_size(inputs)
    if not isinstance(inputs, Files):
        return None
    try:
        file = inputs.fetch(0)
        if large_png.is_large(file[0]):
            return large_png.size_of(file[0])
        height, width = decode_picture(*file).pixels.shape[:2]
    except (OSError, ValueError):
        return None
    return height, width


def _frame_size(clips: Clips) -> tuple[int, int] | None:
    """Give height and width of the first video's frames; None where it cannot be read."""
    try:
        with closing(clips.opened(0)) as clip:
            return clip.size
    except (OSError, ValueError):
        return None


def _there(out: str) -> int:
    """Count the files directly in a folder, up to MOST_COUNTED."""
    fs, root = storage_of(out)
    found = (path for path, _ in files_below(fs, root, deep=False))
    try:
        return sum("/" not in path for path in islice(found, MOST_COUNTED))
    except FileNotFoundError:
        return 0
