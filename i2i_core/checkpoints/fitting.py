"""Compare saved tensors with a run's networks by name and shape, and describe the differences in a few lines.

Names are `NETWORK.LAYER.TENSOR`. A layer's tensors belong together: one that does not fit leaves the others out too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOST_NAMED = 3


@dataclass(frozen=True)
class Misfit:
    """List where saved tensors and a run's differ; false where nothing does.

    Attributes:
        shapes: name -> (saved, here), for tensors whose shapes differ.
        missing: names that the run has and the file lacks.
        extra: names that the file has and the run lacks.
        tied: pairs of names that are one tensor in the run and have two values in the file.
    """

    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    tied: tuple[tuple[str, str], ...]

    @property
    def names(self) -> set[str]:
        """List the names of the run's tensors that cannot be filled."""
        return {*self.shapes, *self.missing, *(name for pair in self.tied for name in pair)}

    def __bool__(self) -> bool:
        return bool(self.names or self.extra)

    def lines(self, networks: Sequence[str], saved_networks: Sequence[str]) -> list[str]:
        """Describe the differences, one line for each network, with at most three tensors of a kind."""
        lines = []
        for network in dict.fromkeys([*networks, *saved_networks]):
            if network not in saved_networks:
                lines.append(f"{network}: not in the file")
            elif network not in networks:
                lines.append(f"{network}: not in this run")
            elif said := self._said_of(f"{network}."):
                lines.append(f"{network}: {said}")
        return lines

    def _said_of(self, prefix: str) -> str:
        shapes = [
            f"{name.removeprefix(prefix)} {_shape(saved)}, here {_shape(here)}"
            for name, (saved, here) in self.shapes.items()
            if name.startswith(prefix)
        ]
        missing = [name.removeprefix(prefix) for name in self.missing if name.startswith(prefix)]
        extra = [name.removeprefix(prefix) for name in self.extra if name.startswith(prefix)]
        tied = [f"{a} is {b} here, and another in the file" for a, b in self.tied if a.startswith(prefix)]
        said = [listed(shapes, "; ")] if shapes else []
        said += [f"not in the file: {listed(missing)}"] if missing else []
        said += [f"only in the file: {listed(extra)}"] if extra else []
        return "; ".join([*said, *([listed(tied, "; ")] if tied else [])])


def compare(saved: Mapping[str, Tensor], networks: nn.Module) -> Misfit:
    """Compare saved tensors with a module's. The module may be on the meta device."""
    here = networks.state_dict(keep_vars=True)
    shapes = {
        name: (tuple(saved[name].shape), tuple(tensor.shape))
        for name, tensor in here.items()
        if name in saved and saved[name].shape != tensor.shape
    }
    missing = tuple(name for name in here if name not in saved)
    extra = tuple(name for name in saved if name not in here)
    return Misfit(shapes, missing, extra, _untied(saved, here))


def _untied(saved: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> tuple[tuple[str, str], ...]:
    first: dict[int, str] = {}
    pairs = []
    for name, tensor in here.items():
        owner = first.setdefault(id(tensor), name)
        if owner != name and name in saved and owner in saved and not torch.equal(saved[name], saved[owner]):
            pairs.append((name, owner))
    return tuple(pairs)


def layer_of(name: str) -> str:
    """Return the layer that a tensor belongs to."""
    return name.rpartition(".")[0]


def layers_of(names: Iterable[str]) -> list[str]:
    """Return the layers of some tensors, each once, in order."""
    return [*dict.fromkeys(layer_of(name) for name in names)]


def under(name: str, prefixes: Sequence[str]) -> bool:
    """Tell whether a tensor belongs to a part: a network, or whatever its name begins with up to a dot."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def listed(names: Sequence[str], between: str = ", ", most: int = MOST_NAMED) -> str:
    """Join the first few names, and add how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
