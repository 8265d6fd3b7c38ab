"""Describe what the network that makes a checkpoint's images takes and makes, by name and shape.

n the images of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from i2i_core.errors import ConfigError
from i2i_core.methods.base import Direction, Method, sides
from i2i_core.methods.controls import Code, Examples, Labels
from i2i_core.networks.shapes import SizeError
from i2i_core.sizes import MOST_SIDE
from i2i_core.translation.padding import Padding

MOST_BATCH = 65_536
"""Images, and examples of an image, that an exported network takes at most."""


@dataclass(frozen=True)
class Signature:
    """Describe what a network takes and makes.

    Attributes:
        channels: of each image taken, by name.
        lengths: of each label vector and code, by name.
        examples: channels of example images, by name.
        made: names of the outputs.
        words: what each input is, by name.
    """

    channels: Mapping[str, int]
    lengths: Mapping[str, int]
    examples: Mapping[str, int]
    made: tuple[str, ...]
    words: Mapping[str, str]

    @classmethod
    def of(cls, method: Method[Any], direction: Direction) -> Signature:
        """Read it off a method.

        Raises:
            ConfigError: the method takes something else than images, labels, codes and examples, or keeps a memory
                between frames.
        """
        taken, made = sides(method, direction)
        if method.memory or (other := {name: role for name, role in taken.items() if role != "image"}):
            what = "a memory between frames" if method.memory else ", ".join(f"{n} ({r})" for n, r in other.items())
            expected = "a method whose outputs follow from images, labels, codes and examples"
            fix = "Use `module()` of the method in Python (docs/python.md)."
            raise ConfigError("export", f"a method that takes {what}", expected, fix)
        channels = {name: method.channels()[name] for name in taken}
        lengths, examples, words = dict[str, int](), dict[str, int](), dict[str, str]()
        for name in channels:
            words[name] = "image, values from -1 to 1"
        for name, control in method.controls.items():
            if isinstance(control, Labels):
                first = method.label_sets[0]
                lengths[name] = first.vector(torch.zeros(1, len(first.columns))).shape[1]
                titles = [title for labels in method.label_sets for title in labels.titles]
                mask = "; then 1 at the data set that they are of" if first.sets > 1 else ""
                words[name] = f"labels, 1 or 0 each: {', '.join(titles)}{mask}"
            elif isinstance(control, Code):
                lengths[name] = method.code_length
                words[name] = f"code, drawn {'from N(0, 1)' if method.prior == 'normal' else 'evenly from -1 to 1'}"
            elif isinstance(control, Examples):
                examples[name] = method.channels()[next(iter(method.outputs))]
                words[name] = "example images, values from -1 to 1"
        return cls(channels, lengths, examples, tuple(made), words)

    @property
    def taken(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return (*self.channels, *self.lengths, *self.examples)

    def name(self, taken: str) -> str:
        """Name an input in the file, where each name stands once: one that an output has too gets `input_` before."""
        return f"input_{taken}" if taken in self.made else taken

    def example(self, n: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Draw inputs (n, ...) of a size, in the order of `taken`; the same for the same numbers."""
        drawn = torch.Generator().manual_seed(seed)

        def image(*shape: int) -> Tensor:
            return torch.rand(shape, generator=drawn) * 2 - 1

        return (
            *(image(n, channels, height, width) for channels in self.channels.values()),
            *(torch.randint(0, 2, (n, length), generator=drawn).float() for length in self.lengths.values()),
            *(image(n, 2, channels, height, width) for channels in self.examples.values()),
        )

    def shapes(self, factor: int, least: int) -> tuple[dict[int, Any], ...]:
        """Give the axes that are free, of each input; `factor` 0: the batch alone."""
        batch = Dim("batch", min=1, max=MOST_BATCH)
        sizes: dict[int, Any] = {}
        if factor:
            low, high = max(1, -(-least // factor)), MOST_SIDE // factor
            sizes = {axis: factor * Dim(name, min=low, max=high) for axis, name in ((-2, "rows"), (-1, "columns"))}
        images = {0: batch, **{4 + axis: size for axis, size in sizes.items()}}
        examples = {0: batch, **{5 + axis: size for axis, size in sizes.items()}}
        if self.examples:
            examples[1] = Dim("examples", min=1, max=MOST_BATCH)
        return (
            *(images for _ in self.channels),
            *({0: batch} for _ in self.lengths),
            *(examples for _ in self.examples),
        )

    def shown(self, factor: int, size: tuple[int, int]) -> dict[str, list[int | str]]:
        """Write the shape of each input and output, with names for the free axes."""
        sides: list[int | str] = ["height", "width"] if factor else list(size)
        shapes: dict[str, list[int | str]] = {name: ["batch", n, *sides] for name, n in self.channels.items()}
        shapes |= {name: ["batch", n] for name, n in self.lengths.items()}
        return shapes | {name: ["batch", "examples", n, *sides] for name, n in self.examples.items()}


def sides_taken(network: Callable[..., Any], signature: Signature) -> Padding:
    """Find which sides the network takes, by what it says of a single pixel."""
    padding = Padding()
    while True:
        try:
            with torch.no_grad():
                network(*signature.example(2, padding.side(1), padding.side(1)))
        except SizeError as error:
            if (wider := padding.also(error)) == padding:
                return Padding(0)
            padding = wider
        except (RuntimeError, ValueError):  # as reflection padding, of an image that is too small for it
            if padding.least > 64:
                return Padding(0)
            padding = Padding(padding.factor, max(padding.side(1) * 2, 2))
        else:
            return padding
