"""Target attributes as a person names them: `bold,serif`, `+bold,-serif`, or one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from i2i_core.errors import ConfigError, nearest

NONE = "none"


@dataclass(frozen=True)
class Target:
    """Attributes to switch on and off.

    Args:
        names: the method's attributes, in the order of its labels.
        edit: the others stay as the source has them; else they are off.
    """

    names: tuple[str, ...]
    on: tuple[str, ...]
    off: tuple[str, ...] = ()
    edit: bool = False

    def label(self, own: np.ndarray | None) -> np.ndarray:
        """(A,) uint8, the target of a source with the label `own` (A,), which only edits read."""
        label = np.zeros(len(self.names), np.uint8)
        if self.edit and own is not None:
            label[:] = own
        label[[self.names.index(name) for name in self.on]] = 1
        label[[self.names.index(name) for name in self.off]] = 0
        return label

    @property
    def title(self) -> str:
        if self.edit:
            return " ".join([*(f"+{name}" for name in self.on), *(f"-{name}" for name in self.off)])
        return ", ".join(self.on) or NONE


def parse_target(text: str, names: Sequence[str], exclusive: bool) -> Target:
    """The target that `text` names.

    `bold,serif`: these on, all others off; `none`: all off; `+bold,-serif`: the source's own label
    with these changed. Of classes that exclude each other: exactly one.

    Raises:
        ConfigError: an unknown or repeated attribute, both manners mixed, or not exactly one class.
    """
    known = f"({'classes' if exclusive else 'attributes'}: {', '.join(names)})"
    words = [word.strip() for word in text.split(",") if word.strip()]
    signs = {word[0] if word[0] in "+-" and word not in names else "" for word in words}
    if not words:
        raise ConfigError("--target", "nothing", f"names {known}", f"For example --target {names[0]}.")
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
        fix = f"Every image has exactly one class: for example --target {names[0]}."
        raise ConfigError("--target", repr(text), f"one class {known}", fix)
    on = tuple(b for b, word in zip(bare, words, strict=False) if not (edit and word[0] == "-"))
    return Target(tuple(names), on, tuple(b for b in bare if b not in on), edit)
