"""Draw what a checkpoint makes of codes: samples, walks from code to code, sums and differences of codes.

z_NZ codes of N images, of length Z. A code has a number, which seeds it: the same number gives the same code of a
method, in every grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from i2i_core.errors import ConfigError, DataError
from i2i_core.images.sheet import contact_sheet
from i2i_core.methods.base import image_input
from i2i_core.methods.controls import Code, Labels
from i2i_core.translation.codes import Path, walk
from i2i_core.translation.inputs import open_images
from i2i_core.translation.loading import AS_IT_IS, loaded
from i2i_core.translation.model import Model
from i2i_core.translation.targets import parse_target_of

AT_ONCE = 64
"""Images that are made at once."""
AWAY = 0.25
"""Most that each number of a neighbouring code differs (Radford et al. 2016, Fig. 7)."""
MEAN_OF = 3
"""Codes whose mean stands for a concept (Radford et al. 2016, sec. 6.3.2)."""


@dataclass(frozen=True)
class Rows:
    """Say what the rows of a grid have besides codes, each row's in turn.

    Attributes:
        labels: (R, A) target labels; None: the method takes none.
        titles: of the labels.
        images: (R, C, H, W) inputs; None: the method takes none.
    """

    labels: Tensor | None
    titles: tuple[str, ...]
    images: Tensor | None

    @property
    def count(self) -> int:
        """Count the rows that differ by label or input; 1 where none does."""
        return max(len(self.titles), 1 if self.images is None else len(self.images), 1)

    def title(self, row: int, text: str) -> str:
        """Give the text before a row, with its label."""
        label = self.titles[row % len(self.titles)] if self.titles else ""
        return "\n".join(filter(None, (text, label)))


def rows_of(model: Model, target: str, input: str) -> Rows:
    """Choose labels and inputs of a grid's rows.

    Args:
        target: labels of all rows; empty: a row for each class, where an image has one.
        input: images, whose outputs vary with the code, a row each.

    Raises:
        ConfigError: the method has no codes, or takes no labels or images that are given, or others.
        DataError: an image cannot be read, or has another size than the first.
    """
    method = model.method
    if not method.control(Code):
        expected = "one with codes: of one input it makes one output"
        raise ConfigError("checkpoint", "a method without codes", expected, "Use translate.py.")
    labels, titles = None, tuple[str, ...]()
    if method.control(Labels):
        known = method.label_sets[0]
        if target:
            parsed = parse_target_of(target, method.label_sets)
            if parsed.edit:
                raise ConfigError("--target", repr(target), "labels, without signs", "Name what is to be on.")
            labels, titles = torch.from_numpy(parsed.vector(None))[None].float(), (parsed.title,)
        elif known.exclusive and len(method.label_sets) == 1:
            labels, titles = torch.eye(len(known.columns)), known.titles
        else:
            names = ", ".join(known.titles)
            raise ConfigError("--target", "nothing", f"what images are to show ({names})", "Give --target NAMES.")
    elif target:
        raise ConfigError("--target", repr(target), "none: this method takes no labels", "Leave --target out.")
    return Rows(labels, titles, _images(model, input))


def _images(model: Model, input: str) -> Tensor | None:
    """Read the inputs, all of one size. Raises as `rows_of`."""
    name = image_input(model.method)
    if not name:
        if model.method.inputs:
            found = ", ".join(f"{n} ({role})" for n, role in model.method.inputs.items())
            raise ConfigError("checkpoint", f"a method that takes {found}", "one image, or none", "Use translate.py.")
        if input:
            raise ConfigError("--input", input, "nothing: this method makes images of no others", "Leave it out.")
        return None
    if not input:
        raise ConfigError("--input", "nothing", "images, whose outputs are to vary", "Name one with --input.")
    files, _ = open_images(input, "--input")
    images: list[Tensor] = []
    for i, path in enumerate(files.paths):
        try:
            images.append(loaded(files.fetch(i), model.method.channels()[name], AS_IT_IS, path).x)
        except (OSError, ValueError) as error:
            raise DataError("--input", f"{path}, which cannot be read ({error})", "images", "Name others.") from None
        if images[-1].shape != images[0].shape:
            raise DataError("--input", f"{path}, of another size than the first", "images of one size", "Name one.")
    return torch.stack(images)


def samples(model: Model, rows: Rows, height: int, width: int, first: int = 0) -> Image.Image:
    """Draw a grid of codes; a code's number is that before its row and that above its column together.

    Rows that differ by label or input have the same codes, so that the columns can be compared.
    """
    same = rows.count > 1
    numbers = [[first + (0 if same else row * width) + column for column in range(width)] for row in range(height)]
    codes = [_codes(model, line) for line in numbers]
    texts = [rows.title(row, "" if same else str(line[0])) for row, line in enumerate(numbers)]
    return _drawn(model, rows, codes, [str(k + (first if same else 0)) for k in range(width)], texts)


def walks(model: Model, rows: Rows, height: int, width: int, how: Path, first: int = 0) -> Image.Image:
    """Draw walks: row r goes from code first + r to the next one, with its label and its input fixed."""
    ends = _codes(model, range(first, first + height + 1))
    steps = walk(ends[:-1], ends[1:], width, how)
    codes = [torch.stack([step[row] for step in steps]) for row in range(height)]
    texts = [rows.title(row, f"{first + row} to {first + row + 1}") for row in range(height)]
    return _drawn(model, rows, codes, [f"{k / (width - 1):.2f}" for k in range(width)], texts)


def arithmetic(model: Model, rows: Rows, groups: Sequence[Sequence[int]]) -> Image.Image:
    """Draw a - b + c, where each of the three is the mean of the codes with these numbers.

    The last column has the means, and below them the result; left of it are codes near the result.
    """
    parts = [_codes(model, numbers) for numbers in groups]
    a, b, c = (part.mean(0, keepdim=True) for part in parts)
    result = a - b + c
    drawn = torch.Generator().manual_seed(0)
    away = AWAY * (2 * torch.rand(len(parts[0]), result.shape[1], generator=drawn) - 1)
    codes = [*(torch.cat([part, part.mean(0, keepdim=True)]) for part in parts), torch.cat([result + away, result])]
    texts = [f"{name}: {', '.join(map(str, numbers))}" for name, numbers in zip("abc", groups, strict=True)]
    texts = [rows.title(0, text) for text in [*texts, "near a - b + c, and a - b + c"]]
    columns = [*(str(k + 1) for k in range(len(parts[0]))), "mean"]
    return _drawn(model, rows, codes, columns, texts, alike=True)


def parse_groups(texts: Sequence[str]) -> list[list[int]]:
    """Read three groups of numbers, `1,2,3 4,5,6 7,8,9`.

    Raises:
        ConfigError: they are not three, or not of MEAN_OF numbers each.
    """
    try:
        groups = [[int(number) for number in text.split(",")] for text in texts]
    except ValueError:
        groups = []
    if [len(group) for group in groups] != [MEAN_OF] * 3 or min(map(min, groups)) < 0:
        expected = f"three groups of {MEAN_OF} numbers of codes, those of a, b and c"
        fix = "For example --arithmetic 3,17,40 5,6,12 1,2,9, numbers that a grid of samples shows."
        raise ConfigError("--arithmetic", " ".join(texts), expected, fix)
    return groups


def _codes(model: Model, numbers: Sequence[int]) -> Tensor:
    """Draw the codes (N, Z) of these numbers."""
    return model.method.draw_codes([str(number) for number in numbers]).float().cpu()


def _drawn(
    model: Model,
    rows: Rows,
    codes: Sequence[Tensor],
    columns: Sequence[str],
    texts: Sequence[str],
    alike: bool = False,
) -> Image.Image:
    """Draw the images of codes (W, Z) of each row, with the row's label and input before them.

    Args:
        alike: true if all rows have the first label and the first input.
    """
    lines = [_made(model, rows, 0 if alike else row, z) for row, z in enumerate(codes)]
    sheet: dict[str, list[Tensor | None]] = {}
    if rows.images is not None:
        sheet["source"] = [rows.images[0 if alike else row % len(rows.images)] for row in range(len(codes))]
    for k, title in enumerate(columns):
        sheet[title] = [line[k] for line in lines]
    return contact_sheet(sheet, rows=texts)


def _made(model: Model, rows: Rows, row: int, z_NZ: Tensor) -> Tensor:
    """Make images (N, C, H, W) of codes, with the labels and the input of a row."""
    method, made = model.method, []
    for z in z_NZ.split(AT_ONCE):
        told = {method.named(Code): z}
        if rows.labels is not None:
            told[method.named(Labels)] = rows.labels[row % len(rows.labels)].expand(len(z), -1)
        if rows.images is None:
            made.append(model.generate(len(z), **told))
        else:
            image = rows.images[row % len(rows.images)]
            made.append(model.translate(image.expand(len(z), *image.shape), **told))
    return torch.cat(made).cpu()
