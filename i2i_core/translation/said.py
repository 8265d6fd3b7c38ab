"""Word what a translation is about to do, before it starts: which images, of which size, where to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import DataError, counted
from i2i_core.sizes import Size, sides, written
from i2i_core.storage.remote import storage_of
from i2i_core.translation.inputs import Files, Inputs, Split, loaded

FAR = 1.25
"""Ratio of an image's side to training's, or the other way round, from which on a network sees other things than it
learnt from."""


def cautions(inputs: Inputs, options: TranslateOptions, trained_at: Size) -> Iterator[str]:
    """Give lines for the log, before anything is written.

    Args:
        inputs: what is translated.
        options: of the command.
        trained_at: size of the run's training images, in pixels.
    """
    yield _which(inputs)
    if not options.size and (size := _first_size(inputs)):
        ratio = max(max(a / b, b / a) for a, b in zip(size, sides(trained_at), strict=True))
        if ratio >= FAR:
            height, width = sides(trained_at)
            advice = f"--size {height} resizes them" if height == width else "resize them to be near it"
            yield (
                f"images go through at their own size, the first at {written(size)} pixels (width x height); the run "
                f"trained at {written(trained_at)}: {advice}"
            )
    if there := _there(options.out):
        files = counted(there, "file")
        yield f"{options.out} holds {files} already; those of the same names are replaced"


def _which(inputs: Inputs) -> str:
    count = len(inputs.names)
    if isinstance(inputs, Split):
        others = [name for name in inputs.data.manifest.splits if name != inputs.split]
        besides = f" (it also has {', '.join(others)}: --split NAME)" if others else ""
        return f"input: the {count:,} samples of split {inputs.split} of {inputs.data.uri}{besides}"
    if not isinstance(inputs, Files):
        return f"input: none; {count:,} codes, drawn by their numbers"
    folders = Counter(path.rpartition("/")[0] for path in inputs.paths)
    several = f" in {len(folders)} folders: {_some([*folders])}" if len(folders) > 1 else ""
    return f"input: {counted(count, 'image')}{several}"


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _first_size(inputs: Inputs) -> tuple[int, int] | None:
    """Give height and width of the first image; None where there is none that can be read: it is named later."""
    if isinstance(inputs, Split):
        field = inputs.data.manifest.fields[inputs.fields[max(inputs.column, 0)]]
        return (field.height, field.width) if field.height and field.width else None
    if not isinstance(inputs, Files):
        return None
    try:
        x_CHW, _ = loaded(inputs.fetch(0), 0, 0, inputs.names[0])
    except (OSError, ValueError, DataError):
        return None
    return x_CHW.shape[1], x_CHW.shape[2]


def _there(out: str) -> int:
    """Count the files directly in a folder."""
    fs, root = storage_of(out)
    try:
        return sum(found["type"] == "file" for found in fs.ls(root, detail=True))
    except FileNotFoundError:
        return 0
