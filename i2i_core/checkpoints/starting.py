"""Start a new run from trained networks: a checkpoint's, or weights of the papers' own programs (`authors.py`).

`read` reads them and checks that they fit. The driver calls it before any worker starts, on networks without memory;
rank 0 calls it again and sends the result to the other ranks; each rank then fills its own networks (`Start.fill`).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from i2i_core.checkpoints import authors, checkpoint
from i2i_core.checkpoints.fitting import Misfit, compare, layer_of, layers_of, listed, under
from i2i_core.checkpoints.trained import find
from i2i_core.errors import CheckpointError, ConfigError, UserError, nearest
from i2i_core.methods import build_from
from i2i_core.methods.base import Method
from i2i_core.settings import flag_of

FITS = "fits"
"""Value of --init-parts that takes each layer whose tensors fit, and leaves the others freshly initialised."""
MOST_LAYERS = 6


@dataclass(frozen=True)
class Start:
    """Hold the tensors that a run starts from, under the run's own names.

    Attributes:
        source: where they come from, in words for the log.
        networks: tensors for the networks.
        averaged: tensors for the averaged generators.
        notes: an addition to the log line for some networks, by the network's name.
        offered: every tensor's name in the source.
    """

    source: str
    networks: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor]
    notes: Mapping[str, str]
    offered: tuple[str, ...]

    def fill(self, method: Method[Any], ema: nn.ModuleDict | None) -> str:
        """Fill a method's networks and averaged generators; return a log line that lists what was taken."""
        method.networks.load_state_dict(self.networks, strict=False)
        if ema is not None:
            ema.load_state_dict(
                {name: self.averaged[name] for name in ema.state_dict() if name in self.averaged}, False
            )
        names = method.networks.state_dict()
        filled = _filled(method.networks, self.networks)
        layers = _by_network(layer for layer in layers_of(names) if layer in filled)
        of = _sizes(layers_of(names))
        taken = [
            ("" if len(mine) == of[network] else f"{len(mine)} of {of[network]} layers of ")
            + network
            + self.notes.get(network, "")
            for network, mine in layers.items()
        ]
        fresh = _grouped([layer for layer in layers_of(names) if layer not in filled], of)
        offered, used = layers_of(self.offered), {layer_of(name) for name in self.networks}
        left = _grouped([layer for layer in offered if layer not in used], _sizes(offered))
        return f"started from {self.source}: {', '.join(taken)}; starting fresh: {fresh or 'none'}" + (
            f"; not taken: {left}" if left else ""
        )


def _by_network(layers: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for layer in layers:
        found.setdefault(layer.partition(".")[0], []).append(layer)
    return found


def _sizes(layers: Sequence[str]) -> dict[str, int]:
    return {network: len(mine) for network, mine in _by_network(layers).items()}


def _grouped(layers: Sequence[str], of: Mapping[str, int]) -> str:
    """Name layers briefly: a whole network by its name, a part of one by its first few layers."""
    said = [
        network if len(mine) == of[network] else listed(mine, most=MOST_LAYERS)
        for network, mine in _by_network(layers).items()
    ]
    return ", ".join(said)


def _filled(networks: nn.ModuleDict, tensors: Mapping[str, Tensor]) -> set[str]:
    """Find the layers that are filled, also through another name of the same tensors (tied layers)."""
    here = networks.state_dict(keep_vars=True)
    values = {id(here[name]) for name in tensors}
    return {layer_of(name) for name, tensor in here.items() if id(tensor) in values}


def read(init_from: str, init_parts: Sequence[str], name: str, method: Method[Any]) -> Start:
    """Read what `--init-from` names, as far as `--init-parts` asks for it, and check that it fits.

    Args:
        init_from: a run, a checkpoint, or `authors:` and files.
        init_parts: networks, beginnings of layers' names, and FITS; none: everything.
        name: the method's.
        method: fitted to the data, and perhaps built without memory.

    Raises:
        ConfigError: a part that the run does not have, or a method without a converter.
        CheckpointError: nothing there, damaged, of another method, or of other names or shapes: which ones, and what
            to do.
    """
    parts, fits = [part for part in init_parts if part != FITS], FITS in init_parts
    _check_parts(parts, method)
    if authors.named(init_from):
        return _from_authors(init_from, name, method, parts, fits)
    saved, where = checkpoint.read(find(init_from)), f"--init-from {init_from}"
    config = saved.config()
    if config.method != name:
        fix = "Name a checkpoint of the same method."
        raise CheckpointError(where, f"a checkpoint of {config.method}", f"one of {name}", fix)
    trained, moving, _ = saved.networks()
    taken = _taken(trained, method, parts, fits, where, lambda: _causes(config.hyper, name, method.config))
    averaged = {key: _average(moving.get(key), tensor) for key, tensor in taken.items()}
    here = [key for key in method.networks.state_dict() if key in trained]
    offered = tuple(dict.fromkeys([*here, *trained]))  # in the run's order
    return Start(f"{saved.url} ({saved.images:,} images)", taken, averaged, {}, offered)


def flags_to_start(url: str, name: str, saved: Any, here: Any) -> str:
    """Give the flags that start a run from another one's networks: `--init-from URL`, with `--init-parts fits` where
    some layers differ; "" where no layer fits.

    Args:
        url: the other run.
        name: the method, the same of both.
        saved: the other run's hyper-parameters, as it has them in its configuration.
        here: those of the run to start, fitted to its data.
    """
    before, now = _shapes(name, saved), _shapes(name, here)
    if before == now:
        return f"--init-from {shlex.quote(url)}"
    unfit = {layer_of(key) for key, shape in now.items() if before.get(key) != shape}
    fit = [key for key in now if layer_of(key) not in unfit]
    return f"--init-from {shlex.quote(url)} --init-parts {FITS}" if fit else ""


def _average(moving: Tensor | None, trained: Tensor) -> Tensor:
    return trained if moving is None or moving.shape != trained.shape else moving


def _from_authors(init_from: str, name: str, method: Method[Any], parts: Sequence[str], fits: bool) -> Start:
    only = {part.partition(".")[0] for part in parts}
    files = authors.read(init_from, name, method, only=only, fits=fits)
    converted = {f"{file.network}.{key}": tensor for file in files for key, tensor in file.tensors.items()}
    where = f"--init-from {init_from}"
    if parts:
        fix = "Name its file too, or leave it out of --init-parts."
        _check_there(parts, converted, where, fits, fix)
    tensors = {key: tensor for key, tensor in converted.items() if not parts or under(key, parts)}
    if not tensors:
        raise _nothing_fits(where, [])
    notes = {file.network: f" from {file.uri} ({authors.said(file)})" for file in files}
    return Start("the authors' weights", tensors, tensors, notes, tuple(converted))


def _check_parts(parts: Sequence[str], method: Method[Any]) -> None:
    """Refuse a part that no tensor of the run belongs to."""
    names = method.networks.state_dict()
    for part in parts:
        if not any(under(name, [part]) for name in names):
            known = [*method.networks, *(layer for layer in layers_of(names))]
            expected = (
                f"a network of this run ({', '.join(method.networks)}), the beginning of a layer's name, or {FITS}"
            )
            raise ConfigError("--init-parts", repr(part), expected, _near(part, known, method))


def _near(part: str, known: Sequence[str], method: Method[Any]) -> str:
    network = part.partition(".")[0]
    inside = [name for name in known if name.startswith(f"{network}.")]
    return nearest(part, inside) if inside else nearest(part, [*method.networks, FITS])


def _check_there(parts: Sequence[str], saved: Mapping[str, Tensor], where: str, fits: bool, fix: str) -> None:
    absent = [part for part in parts if not any(under(name, [part]) for name in saved)]
    if absent and not fits:
        raise CheckpointError(where, f"nothing for {', '.join(absent)}", "what --init-parts asks for", fix)


def _taken(
    saved: Mapping[str, Tensor],
    method: Method[Any],
    parts: Sequence[str],
    fits: bool,
    where: str,
    causes: Callable[[], Sequence[str]],
) -> dict[str, Tensor]:
    """Choose the tensors of a checkpoint to take. Raises CheckpointError where the parts asked for do not fit."""
    if parts:
        there = [network for network in method.networks if any(under(name, [network]) for name in saved)]
        _check_there(parts, saved, where, fits, f"Give --init-parts what is there: {', '.join(there)}.")
        saved = {name: tensor for name, tensor in saved.items() if under(name, parts)}
    misfit = compare(saved, method.networks)
    asked = [name for name in method.networks.state_dict() if not parts or under(name, parts)]
    if not fits:
        misfit = replace(misfit, missing=tuple(name for name in misfit.missing if name in {*asked}))
        if misfit:
            raise _does_not_fit(misfit, method, saved, asked, parts, where, causes())
        return {name: saved[name] for name in asked}
    left = {layer_of(name) for name in misfit.names}
    taken = {name: saved[name] for name in asked if name in saved and layer_of(name) not in left}
    if not taken:
        raise _nothing_fits(where, _lines(misfit, method, saved, asked))
    return taken


def _lines(misfit: Misfit, method: Method[Any], saved: Mapping[str, Tensor], asked: Sequence[str]) -> list[str]:
    networks = [network for network in method.networks if any(under(name, [network]) for name in asked)]
    return misfit.lines(networks, [*dict.fromkeys(name.partition(".")[0] for name in saved)])


def _does_not_fit(
    misfit: Misfit,
    method: Method[Any],
    saved: Mapping[str, Tensor],
    asked: Sequence[str],
    parts: Sequence[str],
    where: str,
    causes: Sequence[str],
) -> CheckpointError:
    unfit = {*misfit.names, *misfit.extra}
    whole = [part for part in parts or method.networks if not any(under(name, [part]) for name in unfit)]
    some = {*layers_of(asked)} - {layer_of(name) for name in unfit}
    advice = [f"give it what it was saved with ({', '.join(causes)})"] if causes else []
    advice += [f"add --init-parts {FITS} to take the layers that fit and start the others fresh"] if some else []
    advice += [f"give --init-parts {' '.join(whole)} for what fits as a whole"] if whole else []
    advice = advice or ["name another checkpoint"]
    found = "networks that are not this run's:" + "".join(
        f"\n    {line}" for line in _lines(misfit, method, saved, asked)
    )
    fix = "; or ".join(advice)
    return CheckpointError(where, found, "the same names and shapes", f"{fix[0].upper()}{fix[1:]}.")


def _nothing_fits(where: str, lines: Sequence[str]) -> CheckpointError:
    found = "no layer that fits" + "".join(f"\n    {line}" for line in lines)
    return CheckpointError(where, found, "one at least", "Name other weights, or leave --init-from out.")


def _causes(saved: Any, name: str, here: Any) -> list[str]:
    """List the saved hyper-parameters that make the networks differ: as flags, or as properties of the data."""
    now, causes = _shapes(name, here), []
    for field in fields(here):
        before, value = getattr(saved, field.name), getattr(here, field.name)
        if before == value:
            continue
        try:
            same = _shapes(name, replace(here, **{field.name: before})) == now
        except (UserError, ValueError, RuntimeError):  # possible only together with another field
            same = False
        if not same:
            what = f"data with {field.name}" if field.metadata.get("derived") else flag_of(field)
            causes.append(f"{what} {before} in place of {value}")
    return causes


def _shapes(name: str, hyper: Any) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: tensor.shape for key, tensor in build_from(name, hyper).networks.state_dict().items()}
