"""Parse target attributes as a person names them: `bold,serif`, `+bold,-serif`, or one class.

For a method trained on several data sets, the names also tell which set's labels are meant.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from i2i_core.errors import ConfigError, nearest
from i2i_core.labels import LabelSet
from i2i_core.names import listed, quoted

NONE = "none"


@dataclass(frozen=True)
class Target:
    """Hold the attributes to switch on and off, and make label vectors of them.

    Args:
        names: the method's attributes, in the order of its labels.
        on, off: attributes to switch on and off.
        edit: true: all other attributes stay as the source has them; false: they are off.
        known: the data set that the labels belong to, where the method was trained on several.
    """

    names: tuple[str, ...]
    on: tuple[str, ...]
    off: tuple[str, ...] = ()
    edit: bool = False
    known: LabelSet | None = None

    def label(self, own: np.ndarray | None) -> np.ndarray:
        """Give the target label (A,) uint8 of a source with the label `own` (A,), which only edits read."""
        label = np.zeros(len(self.names), np.uint8)
        if self.edit and own is not None:
            label[:] = own
        label[[self.names.index(name) for name in self.on]] = 1
        label[[self.names.index(name) for name in self.off]] = 0
        return label

    def vector(self, own: np.ndarray | None) -> np.ndarray:
        """Give the vector that the method takes: `label`; for several data sets, with the others' and the mask."""
        label = self.label(own)
        return label if self.known is None else self.known.vector(torch.from_numpy(label)[None])[0].numpy()

    @property
    def title(self) -> str:
        """The target in words, such as `+bold -serif` or `bold, serif`."""
        if self.edit:
            return " ".join([*(f"+{name}" for name in self.on), *(f"-{name}" for name in self.off)])
        return ", ".join(self.on) or NONE


def parse_target(text: str, names: Sequence[str], exclusive: bool) -> Target:
    """Parse a target.

    `bold,serif`: these on, all others off; `none`: all off; `+bold,-serif`: the source's own label with these changed.
    Of classes that exclude each other exactly one must be named. A name that holds a comma is one name; so is what
    stands in quotes.

    Raises:
        ConfigError: an unknown or repeated attribute, both manners mixed, or not exactly one class.
    """
    known = f"({'classes' if exclusive else 'attributes'}: {', '.join(map(quoted, names))})"
    words = listed(text, names)
    signs = {word[0] if word[0] in "+-" and word not in names else "" for word in words}
    if not words:
        raise ConfigError("--target", "nothing", f"names {known}", f"For example --target {_typed(names[0])}.")
    if "" in signs and len(signs) > 1:
        fix = "Name what is on (`bold,serif`), or what changes (`+bold,-serif`)."
        raise ConfigError("--target", repr(text), "names with a sign, or names without", fix)
    edit = "" not in signs
    bare = [word[1:] if edit else word for word in words]
    bare = [] if bare == [NONE] and NONE not in names and not edit else bare
    for word in bare:
        if word not in names:
            raise ConfigError("--target", repr(word), f"one of the checkpoint's {known}", nearest(word, names))
    if len(set(bare)) < len(bare):
        raise ConfigError("--target", repr(text), "each name once", "Remove the repeated name.")
    if exclusive and (edit or len(bare) != 1):
        fix = f"Every image has exactly one class: for example --target {_typed(names[0])}."
        raise ConfigError("--target", repr(text), f"one class {known}", fix)
    on = tuple(b for b, word in zip(bare, words, strict=False) if not (edit and word[0] == "-"))
    return Target(tuple(names), on, tuple(b for b in bare if b not in on), edit)


def _typed(name: str) -> str:
    """Write a name as it is typed after --target."""
    return shlex.quote(quoted(name))


def parse_target_of(text: str, sets: Sequence[LabelSet]) -> Target:
    """Parse a target of one data set's labels, or of several sets': then of the set that has the names.

    `none` belongs to the only set of attributes.

    Raises:
        ConfigError: as `parse_target`; names of two sets; `none` where several sets have attributes, or no set has.
    """
    if len(sets) == 1:
        return parse_target(text, sets[0].titles, sets[0].exclusive)
    words = listed(text, [name for s in sets for name in s.titles])
    bare = {name for word in words for name in (word, word[1:] if word[0] in "+-" else word)}
    named = [s for s in sets if bare & set(s.titles)]
    if not named and words == [NONE]:
        named = [s for s in sets if not s.exclusive]
        if len(named) != 1:
            fix = f"Name what is to be on: for example --target {_typed(sets[0].titles[0])}."
            found = f"{NONE!r} for {len(named)} data sets of attributes"
            raise ConfigError("--target", found, f"one that {NONE!r} is a label of", fix)
    if len(named) > 1:
        expected = "names of one data set: " + "; or ".join(", ".join(map(quoted, s.titles)) for s in named)
        fix = "An image is given labels of one data set at a time: translate it, then translate what came out."
        raise ConfigError("--target", repr(text), expected, fix)
    if not named:  # raises: not one name is known
        return parse_target(text, [name for s in sets for name in s.titles], False)
    return replace(parse_target(text, named[0].titles, named[0].exclusive), known=named[0])
