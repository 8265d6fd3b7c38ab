"""What a method is: networks, players, an update rule, and a way to make images.

A method's `update` is the paper's algorithm as a generator: it takes global batches from an
iterator and yields one move at a time, `player, loss, terms[, scores]`. The training step (which alone
moves weights) runs it, once for every micro-batch side by side; see docs/decisions.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.fields import Needs, Schema
from i2i_core.labels import LabelSet
from i2i_core.methods.at_test import AtTest
from i2i_core.methods.controls import Code, Control, Labels
from i2i_core.methods.history import History
from i2i_core.settings import check_positive

Terms = dict[str, Tensor]
Objective = tuple[Tensor, Terms] | tuple[Tensor, Terms, Terms]
"""A loss, its terms by name, and perhaps scores: what is watched and not minimised, as how often D was right."""
Move = tuple[str, Tensor, Terms] | tuple[str, Tensor, Terms, Terms]
"""The player that moves, and its objective."""
Config = TypeVar("Config")
AnyControl = TypeVar("AnyControl", Labels, Code)
ParameterPlaces = list[tuple[dict[str, nn.Parameter | None], str]]
"""Where a network's parameters stand: the dictionary of a module that holds one, and its name there."""
Direction = Literal["AtoB", "BtoA"]


@dataclass(frozen=True)
class Optimiser:
    """Say how a player moves: by Adam, or by RMSProp where WGAN asks for it."""

    lr: float
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    kind: Literal["adam", "rmsprop"] = "adam"

    def __post_init__(self) -> None:
        check_positive(self, "lr")


@dataclass(frozen=True)
class Player:
    """Group the networks that one optimiser updates together.

    `after_move(suppressed)` runs after each move (clipping); `suppressed` is a scalar on the device, not 0 where the
    move was suppressed.
    """

    networks: tuple[str, ...]
    optimiser: Optimiser
    after_move: Callable[[Tensor], None] | None = None


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        images: served.
        moves: made by each player.
        stage: the number of the stage that an update belongs to, from 0 on; of a run without stages 0.
        players: who moves in it; moves of others are left out, and an update need not make them.
        values: what `value` gives, by name.
    """

    images: int = 0
    moves: dict[str, int] = field(default_factory=dict)
    stage: int = 0
    players: tuple[str, ...] = ()
    values: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)

    def value(self, name: str) -> Tensor:
        """Give the present value of the method's `schedule` of that name: a scalar on the device, float32, the same
        tensor in every update.

        Raises:
            KeyError: there is none of that name.
        """
        if name not in self.values:
            raise KeyError(f"no value {name!r} in the method's schedule: {', '.join(self.values) or 'it is empty'}")
        return self.values[name]


class Method(nn.Module, Generic[Config]):
    """Base of all methods.

    Attributes:
        config: the method's section of the configuration.
        networks: every trained network, named as in the paper.
        players: which networks move together, by name.
        generators: the networks that make images; what EMA follows and `translate` uses. (An encoder that `encode`
            reads codes with is not among them: it is used as it was trained.)
        needs: the fields of a data set that it reads, by their roles.
        inputs: role by name of the fields of a batch that images are made from; evaluation and `translate` take one
            image.
        outputs: role by name of the field that shows what made images should look like: one, where images are made
            from one image.
        controls: what else can be set when images are made, by the name of the argument of `translate`.
        two_way: whether `back` translates from B to A as well.
        several: (from `controls`) whether it trains on several labelled data sets side by side; `fit` then takes their
            manifests too.
        codes: (from `controls`) whether outputs vary with a code z, which `translate` takes as `z` and `draw_codes`
            draws.
        encodes: (from `controls`) whether `encode` reads the code off an image.
        any_size: whether its networks take images of several sizes, so that stages of a run may have sizes of their
            own; which ones, its configuration says.
        couples: whether an objective takes a mean over the whole batch (`Batch.mean`), which micro-batches have not.
        dropout_is_noise: whether outputs get their noise from dropout, which then stays on when images are made.
        at_test: how batch norm and dropout run when images are made. A loop and a loaded checkpoint set it by how the
            run trained; of networks just built, as for one image a normalisation.
        stage: the number of the stage that it is in, from 0 on: networks that stages add take no part in images before
            theirs. Training and a loaded checkpoint set it.
        schedule: by name, what changes as a run goes on: of the number of images served. `Progress.value` has it.
        pools: histories of made images, by name; part of the training state.
    """

    needs: ClassVar[Needs]
    inputs: ClassVar[Mapping[str, str]] = {}
    outputs: ClassVar[Mapping[str, str]] = {}
    controls: ClassVar[Mapping[str, Control]] = {}
    generators: ClassVar[tuple[str, ...]]
    two_way: ClassVar[bool] = False
    several: ClassVar[bool] = False
    codes: ClassVar[bool] = False
    encodes: ClassVar[bool] = False
    any_size: ClassVar[bool] = False
    couples: ClassVar[bool] = False
    dropout_is_noise: ClassVar[bool] = False
    networks: nn.ModuleDict
    players: Mapping[str, Player]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        labels, code = cls.control(Labels), cls.control(Code)
        cls.several, cls.codes = bool(labels and labels.several), code is not None
        cls.encodes = bool(code and code.encoded)

    @classmethod
    def control(cls, kind: type[AnyControl]) -> AnyControl | None:
        """Give the control of a kind; None: there is none."""
        return next((control for control in cls.controls.values() if isinstance(control, kind)), None)

    @classmethod
    def translates_images(cls) -> bool:
        """Tell whether images are made from one image alone, besides what the controls say."""
        return list(cls.inputs.values()) == ["image"]

    @classmethod
    def knows_truth(cls) -> bool:
        """Tell whether a sample holds, beside an image, what is to be made of it."""
        apart = bool(cls.outputs) and cls.inputs.keys().isdisjoint(cls.outputs)
        return apart and cls.translates_images() and cls.needs.domains == 1

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.stage = 0
        self.schedule: Mapping[str, Callable[[int], float]] = {}
        self.pools: dict[str, History] = {}
        self._known: dict[str, tuple[nn.Module, ParameterPlaces]] = {}
        """By name, the network that was last met under it, and its places."""
        self.at_test = AtTest("image", self.dropout_is_noise)

    @staticmethod
    def fit(config: Any, schema: Schema, direction: Direction) -> Any:
        """Fill in what only the data knows (channels, attributes).

        Args:
            direction: which side of a pair, or which domain, is the input.

        Raises:
            DataError: the data cannot serve this method and configuration.
        """
        raise TypeError("a method defines fit")

    def channels(self) -> tuple[int, int]:
        """Give the channels of the images that `translate` takes and of those that it makes."""
        raise TypeError("a method that translates images defines channels")

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Make one update of the paper's algorithm, a move at a time."""
        raise TypeError("a method defines update")

    def translate(self, x: Tensor, *, keys: Sequence[str] | None = None, **control: Any) -> Tensor:
        """Make images from x, both (n, C, H, W) in [-1, 1].

        Args:
            x: input images.
            keys: names that seed each image's noise (codes, dropout), where there is any; none: their numbers.
            control: the method's own (StarGAN: `target`, (n, A); with `codes`: `z`, (n, Z)).
        """
        raise TypeError("a method defines translate")

    def back(self, y: Tensor) -> Tensor:
        """Make images of domain A from those of B, where `two_way`."""
        raise TypeError("a two-way method defines back")

    def draw_codes(self, keys: Sequence[str], sample: int = 0) -> Tensor:
        """Draw (n, Z) codes from N(0, 1), each seeded by its key and the number of the sample, where `codes`."""
        raise TypeError("a method with codes defines draw_codes")

    def encode(self, b: Tensor) -> Tensor:
        """Read (n, Z) codes off images of B, where `encodes`."""
        raise TypeError("a method that encodes defines encode")

    @property
    def least_encoded(self) -> int:
        """Give the pixels that each side of an image must have at least for `encode`, where `encodes`."""
        raise TypeError("a method that encodes defines least_encoded")

    @property
    def label_sets(self) -> tuple[LabelSet, ...]:
        """Give the labels of each data set that it is trained on, where `target` is a control."""
        raise TypeError("a method with target labels defines label_sets")

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Make the columns of a sample grid, by title: images (n, C, H, W), one row per sample."""
        raise TypeError("a method defines preview")

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def networks_of(self, player: str) -> nn.ModuleDict:
        """Give the networks that a player moves, by name."""
        return nn.ModuleDict({name: self.networks[name] for name in self.players[player].networks})

    def parameters_of(self, player: str) -> list[nn.Parameter]:
        """List the parameters that a player moves; a parameter tied between networks comes once."""
        return self._parameters_in(self.players[player].networks)

    def _parameters_in(self, networks: Iterable[str]) -> list[nn.Parameter]:
        """List the parameters of networks, by name, each once.

        Modules are walked once for a network, which takes milliseconds. Parameters are looked up where they stand, so
        that those are found which another network, or `load_state_dict(assign=True)`, put in the place of the first.
        """
        found: dict[nn.Parameter, None] = {}
        for name in networks:
            network = self.networks[name]
            if name not in self._known or self._known[name][0] is not network:
                self._known[name] = (network, _places(network))
            found |= {p: None for held, key in self._known[name][1] if (p := held[key]) is not None}
        return list(found)

    @property
    def makers(self) -> list[nn.Module]:
        """The networks that make images."""
        return [self.networks[name] for name in self.generators]

    @contextmanager
    def translating(self, *also: str, keys: Sequence[str] | None = None) -> Iterator[None]:
        """Run generators, and networks named besides, as `at_test` says, without gradients.

        Args:
            keys: names of the images, which seed dropout where it is on; none: their numbers in the batch.
        """
        networks = [*self.makers, *(self.networks[name] for name in also)]
        with self.at_test.applied((m for network in networks for m in network.modules()), keys), torch.no_grad():
            yield


def _places(network: nn.Module) -> ParameterPlaces:
    return [(module._parameters, name) for module in network.modules() for name in module._parameters]


def moves(player: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark an objective with the player it moves: all other players' parameters are frozen while
    it is computed, so no gradient of theirs is ever built. Graphs built before the call stay whole."""

    def decorate(objective: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(objective)
        def frozen(self: Method[Any], *args: Any, **kwargs: Any) -> Any:
            mine = set(self.parameters_of(player))
            others = [p for p in self._parameters_in(self.networks) if p not in mine and p.requires_grad]
            for p in others:
                p.requires_grad_(False)
            try:
                return objective(self, *args, **kwargs)
            finally:
                for p in others:
                    p.requires_grad_(True)

        frozen.moves = player  # type: ignore[attr-defined]
        return frozen

    return decorate


def paired_channels(schema: Schema, direction: Direction) -> tuple[int, int]:
    """Give the channels of the input and of the output of pairs."""
    a, b = (schema.fields[side].channels for side in ("ab" if direction == "AtoB" else "ba"))
    return a, b
