"""Define what a method is: networks, players, an update rule, and a way to make images.

A method's `update` is the paper's algorithm as a Python generator: it takes global batches from an iterator and yields
one move at a time, `player, loss, terms[, scores]`. Only the training step changes weights; it runs one such generator
for every micro-batch, side by side. See docs/decisions.md.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.errors import ConfigError, DataError
from i2i_core.fields import NUMBERS, Needs, Schema
from i2i_core.labels import LabelSet
from i2i_core.methods.at_test import AtTest, counts_calls
from i2i_core.methods.controls import Code, Control, Examples, Labels
from i2i_core.methods.history import History
from i2i_core.randomness import seed_from
from i2i_core.settings import check_positive, flag

MOST_PARAMETERS = 4_000_000_000
"""Most weights of a method's networks together: 16 GB, and 48 GB more for gradients and Adam."""
Terms = dict[str, Tensor]
Objective = tuple[Tensor, Terms] | tuple[Tensor, Terms, Terms]
"""A loss, its terms by name, and perhaps scores: values that are logged and not minimised, as how often D is right."""
Move = tuple[str, Tensor, Terms] | tuple[str, Tensor, Terms, Terms]
"""The player that moves, and its objective."""
Config = TypeVar("Config")
AnyControl = TypeVar("AnyControl", Labels, Code, Examples)
Values = Mapping[str, Tensor]
"""Tensors by name, each (n, ...)."""
Column = Tensor | str
"""A column of a grid: made images (n, C, H, W), of sequences (n, T, C, H, W); or the name of a field of the batch."""
ParameterPlaces = list[tuple[dict[str, nn.Parameter | None], str]]
"""Places of a network's parameters: the dictionary of a module that holds one, and its name there."""
Direction = Literal["AtoB", "BtoA"]


@dataclass(frozen=True)
class Optimiser:
    """Choose the optimiser of a player: Adam, RMSProp as in WGAN's paper, or SGD, whose momentum is `betas[0]`.

    `decays` says which parameters the weight decay is for: all, or weights alone, without biases, norms and slopes.
    """

    lr: float
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    kind: Literal["adam", "rmsprop", "sgd"] = "adam"
    decays: Literal["all", "weights"] = "all"

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
    """Hold how far a run is.

    Attributes:
        images: images that the streams have served.
        moves: number of moves made, by player.
        stage: number of the stage that the update belongs to, from 0 on; 0 in a run without stages.
        players: players that move in this stage; moves of others are skipped, and an update need not yield them.
        values: present values of the method's `schedule`, by name; read them with `value`.
    """

    images: int = 0
    moves: dict[str, int] = field(default_factory=dict)
    stage: int = 0
    players: tuple[str, ...] = ()
    values: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)

    def value(self, name: str) -> Tensor:
        """Give the present value of an entry of the method's `schedule`.

        It is a float32 scalar on the device, and the same tensor in every update.

        Raises:
            KeyError: the schedule has no entry of that name.
        """
        if name not in self.values:
            raise KeyError(f"no value {name!r} in the method's schedule: {', '.join(self.values) or 'it is empty'}")
        return self.values[name]


@dataclass(frozen=True)
class Extras:
    """Name the layers that options of the game add to a built method, and which the step runs in a way of its own.

    Attributes:
        noisy_inputs: networks whose first input gets noise of the deviation that the schedule has as INPUT_NOISE.
        noisy_layers: layers whose outputs get noise in training.
        layer_noise: its standard deviation.
        targets: draws D's targets.
        comparing: layers that compare the samples of a batch.
    """

    noisy_inputs: tuple[nn.Module, ...] = ()
    noisy_layers: tuple[nn.Module, ...] = ()
    layer_noise: float = 0.0
    targets: nn.Module | None = None
    comparing: tuple[nn.Module, ...] = ()

    @property
    def count_calls(self) -> frozenset[nn.Module]:
        """The modules whose output for two batches differs between one call and two calls."""
        return frozenset((*self.noisy_inputs, *self.noisy_layers, *self.comparing))


INPUT_NOISE = "input_noise"
"""Entry of a method's `schedule` that gives the deviation of the noise on what discriminators see."""


class Method(nn.Module, Generic[Config]):
    """Implement a paper: its networks, objectives, update rule, and how images are made. Base class of all methods.

    Attributes:
        config: the method's section of the configuration.
        networks: every trained network, named as in the paper.
        players: players by name: which networks one optimiser updates together.
        generators: networks that make images: EMA averages them and `translate` uses them. (An encoder that `encode`
            reads codes with is not among them: it is used as trained.)
        needs: fields of a data set that the method reads, by their roles.
        inputs: role by name of the batch's fields that images are made from; empty: images are made of codes and labels
            alone. A method that reads a field only where the data has it sets this in `__init__`.
        outputs: role by name of the images it makes; each name is the batch's field that the image should look like.
        controls: target labels, code or examples that control an image, by name.
        memory: names of what is kept from one frame of a clip for the next when images are made.
        two_way: true if it also makes `inputs` from `outputs`: direction BtoA.
        several: (from `controls`) true if it trains on several labelled data sets side by side; `fit` then takes their
            manifests too.
        codes: (from `controls`) true if outputs vary with a code, which `draw_codes` draws.
        encodes: (from `controls`) true if `encode` reads the code off an image.
        any_size: true if the networks take images of several sizes, so that a run's stages may differ in size; the
            configuration checks which ones.
        couples: true if an objective takes a mean over the whole batch (`Batch.mean`), which micro-batches cannot give.
        extras: layers of the game's options.
        optimises: true if images are made by an optimisation, which is no network that could be exported or tiled.
        dropout_is_noise: true if outputs get their noise from dropout, which then stays on when images are made.
        at_test: how batch norm and dropout run when images are made. The training loop and a loaded checkpoint set it
            by how the run trained; new networks have it as for one image a normalisation.
        stage: number of the present stage, from 0 on: networks that a stage adds take no part in images before it.
            Training and a loaded checkpoint set it.
        schedule: by name, functions of the number of images served; `Progress.value` gives their present values.
        pools: histories of generated images, by name; part of the training state.
        passes_together: true if `each` joins several calls of a network to one. Training sets it.
    """

    needs: ClassVar[Needs]
    inputs: Mapping[str, str] = {}
    outputs: Mapping[str, str] = {}
    controls: ClassVar[Mapping[str, Control]] = {}
    memory: ClassVar[tuple[str, ...]] = ()
    generators: ClassVar[tuple[str, ...]]
    two_way: ClassVar[bool] = False
    several: ClassVar[bool] = False
    codes: ClassVar[bool] = False
    encodes: ClassVar[bool] = False
    any_size: ClassVar[bool] = False
    couples: bool = False
    optimises: ClassVar[bool] = False
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
        """Give the control of a kind; None where the method has none."""
        return next((control for control in cls.controls.values() if isinstance(control, kind)), None)

    @classmethod
    def named(cls, kind: type[Labels | Code | Examples]) -> str:
        """Name the control of a kind; empty where the method has none."""
        return next((name for name, control in cls.controls.items() if isinstance(control, kind)), "")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.stage = 0
        self.schedule: Mapping[str, Callable[[int], float]] = {}
        self.pools: dict[str, History] = {}
        self.passes_together = False
        self.extras = Extras()
        self._known: dict[str, tuple[nn.Module, ParameterPlaces]] = {}
        """By name, the network last found under it, and the places of its parameters."""
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

    @classmethod
    def with_files(cls, config: Any) -> Any:
        """Make paths of files that the objectives need absolute, and note the files' checksums, before a run starts.

        Raises:
            ConfigError: a file is not there, or is something else.
        """
        return config

    def attach(self) -> None:
        """Read the files of `with_files`, once, where training begins.

        Frozen networks go to the device, and not into `networks`.

        Raises:
            ConfigError: a file is not there, or not the one that the run began with.
        """

    def each(self, network: str, *images: Tensor) -> list[Any]:
        """Apply a network to several batches of images of one size; return an output for each.

        One call does it where the network's calls may be joined (`joins`); else there is a call for each.
        """
        module = self.networks[network]
        if not self.joins(network):
            return [module(x) for x in images]
        return _parted(module(torch.cat(images)), [len(x) for x in images])

    def joins(self, network: str) -> bool:
        """Tell if several calls of a network may be made one, and may change their order.

        So it is where `passes_together` is set, and no layer distinguishes one call from several (`counts_calls`).
        """
        module = self.networks[network]
        counts = counts_calls(module) or not self.extras.count_calls.isdisjoint(module.modules())
        return self.passes_together and not counts

    def channels(self) -> Mapping[str, int]:
        """Give the channels of every image among inputs and outputs, by name."""
        raise TypeError("a method that makes images defines channels")

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Make one update of the paper's algorithm, a move at a time."""
        raise TypeError("a method defines update")

    def phase(self, progress: Progress) -> Hashable:
        """Give a value that changes whenever the progress changes which moves an update makes.

        Updates of one phase make the same moves, so that they can be recorded once (CUDA graphs). Only a method whose
        `update` reads `progress.images` or `progress.moves` has several phases.
        """
        return ()

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give the network that makes images, as a plain module without keys and files.

        Its `forward` takes tensors in the order of `inputs`, `controls` and `memory`, and returns the output, or a
        tuple in the order of `outputs` and `memory` where these are several. In direction BtoA it takes `outputs`.
        """
        raise TypeError("a method that makes images defines module")

    def translate(
        self,
        inputs: Values,
        controls: Values | None = None,
        direction: Direction = "AtoB",
        *,
        keys: Sequence[str] | None = None,
        memory: Values | None = None,
    ) -> dict[str, Tensor]:
        """Make images: run `module()` as `at_test` says, and give its outputs by name.

        Args:
            inputs: fields by name, as a batch has them. Empty for a method without inputs: `keys` then gives the count.
            controls: by name; a code that is missing is drawn, seeded by `keys`.
            direction: BtoA makes `inputs` from `outputs`, where `two_way`.
            keys: names that seed each image's noise (codes, dropout); None: 0, 1, ...
            memory: memory of the frame before, where the method has one; None: this is the first frame of its clip.

        Raises:
            ValueError: an input or control is missing, or the method does not have the direction.
        """
        taken, made = sides(self, direction)
        if keys is None:
            keys = [str(i) for i in range(len(next(iter(inputs.values()), ())))]
        given = [*_each(inputs, taken, "input"), *self.ordered_controls(controls or {}, keys), *self.drawn_for(keys)]
        if self.memory:
            given += _each(self.first_memory(inputs) if memory is None else memory, self.memory, "memory")
        module, names = self.module(direction), (*made, *self.memory)
        with self.translating(module, keys=keys):
            found = module(*given)
        values = found if isinstance(found, tuple) else (found,)
        shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in values]
        if len(values) != len(names) or not all(isinstance(x, Tensor) and len(x) == len(keys) for x in values):
            expected = f"{', '.join(names)}, each a tensor (n, ...) of {len(keys)}"
            raise TypeError(f"module() of {type(self).__name__} gave {shapes}; expected {expected}")
        return dict(zip(names, values, strict=True))

    def ordered_controls(self, controls: Values, keys: Sequence[str]) -> list[Tensor]:
        """Give controls in the order in which `module()` takes them; a code that is missing is drawn, seeded by the
        keys. Raises ValueError where another one is missing."""
        code = self.named(Code)
        if code and code not in controls:
            controls = {**controls, code: self.draw_codes(keys)}
        weight = next(self.parameters())
        return [control.to(weight) for control in _each(controls, self.controls, "control")]

    def drawn_for(self, keys: Sequence[str]) -> list[Tensor]:
        """Draw what `module()` takes behind the controls, seeded by the images' keys; most methods take nothing."""
        return []

    def along(
        self,
        inputs: Values,
        controls: Values | None = None,
        *,
        keys: Sequence[str] | None = None,
        direction: Direction = "AtoB",
    ) -> dict[str, Tensor]:
        """Make the frames of sequences one after the other, each with the memory of the one before.

        Args:
            inputs: (n, T, ...) by name.
            controls, keys, direction: as in `translate`; one control and one key for each sequence.
        """
        frames = next(iter(inputs.values())).shape[1]
        found: list[dict[str, Tensor]] = []
        for t in range(frames):
            now = {name: x[:, t] for name, x in inputs.items()}
            before = found[-1] if found else None
            found.append(self.translate(now, controls, direction, keys=keys, memory=before))
        return {name: torch.stack([x[name] for x in found], dim=1) for name in sides(self, direction)[1]}

    def image_from(
        self, x: Tensor, direction: Direction = "AtoB", *, keys: Sequence[str] | None = None, **controls: Tensor
    ) -> Tensor:
        """Translate images with a method that has one input and one output, as `translate` does.

        Args:
            x: (n, C, H, W) in [-1, 1].
            keys, controls: as in `translate`.
        """
        (taken,), (made, *_) = sides(self, direction)
        return self.translate({taken: x}, controls, direction, keys=keys)[made]

    def first_memory(self, inputs: Values) -> Values:
        """Give the memory before the first frame of a clip, by name."""
        raise TypeError("a method with a memory defines first_memory")

    @property
    def code_length(self) -> int:
        """Give Z, the numbers in a code."""
        raise TypeError("a method with codes defines code_length")

    @property
    def prior(self) -> Literal["normal", "uniform"]:
        """Give the distribution of a code's numbers: that of the control, unless the configuration decides it."""
        control = self.control(Code)
        return control.drawn if control else "normal"

    def draw_codes(self, keys: Sequence[str], sample: int = 0) -> Tensor:
        """Draw codes (n, Z), each seeded by its key and the sample's number.

        They are drawn on the host, so that they are the same on every device.
        """
        codes = torch.empty(len(keys), self.code_length)
        for z, key in zip(codes, keys, strict=True):
            generator = torch.Generator().manual_seed(seed_from("code", key, sample))
            if self.prior == "uniform":
                z.uniform_(-1, 1, generator=generator)
            else:
                z.copy_(torch.randn(self.code_length, generator=generator))
        return codes.to(next(self.parameters()))

    def encode(self, images: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Read codes (n, Z) off images of the kind that a direction makes; only where `encodes`."""
        raise TypeError("a method that encodes defines encode")

    @property
    def least_encoded(self) -> int:
        """Give the pixels that each side of an image must have at least for `encode`, where `encodes`."""
        raise TypeError("a method that encodes defines least_encoded")

    @property
    def label_sets(self) -> tuple[LabelSet, ...]:
        """Give the labels of each data set that it is trained on, where `target` is a control."""
        raise TypeError("a method with target labels defines label_sets")

    def own_labels(self, batch: Batch) -> Tensor:
        """Give the labels of a batch's samples in the form that the method takes as target labels."""
        known = self.label_sets[batch.source]
        return known.vector(batch["labels"][:, list(known.columns)].to(batch.like))

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Make the columns of a sample grid, by title, with a row for each sample.

        The columns are inputs, outputs made with the sample's own labels, and truths; a method may override this.
        Titles begin with the words of contact sheets, `source`, `translation` (`made` without inputs) and `truth`
        (`real` where domains have no pairs), and go on with the paper's letters, or here with names of fields.
        """
        told, keys = {}, batch.keys or [str(i) for i in range(batch.start, batch.stop)]
        if examples := self.control(Examples):
            told[self.named(Examples)] = batch[examples.field]
        if labels := self.named(Labels):
            told[labels] = self.own_labels(batch)
        make = self.translate if self.needs.frames == 1 else self.along
        made = make({name: batch[name] for name in self.inputs}, told, keys=keys)
        columns: dict[str, Column] = {f"source {name}": name for name in self.inputs}
        columns |= {f"{'translation' if self.inputs else 'made'} {name}": made[name] for name in self.outputs}
        real = "real" if self.needs.domains == 2 else "truth"
        return columns | {f"{real} {name}": name for name in self.outputs}

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
        """Networks that make images."""
        return [self.networks[name] for name in self.generators]

    @contextmanager
    def translating(self, *also: str | nn.Module, keys: Sequence[str] | None = None) -> Iterator[None]:
        """Run the generators as `at_test` says inside the block, without gradients.

        Args:
            also: further networks, or their names.
            keys: names of the images, which seed dropout where it is on; None: their numbers in the batch.
        """
        networks = [*self.makers, *(self.networks[one] if isinstance(one, str) else one for one in also)]
        modules = dict.fromkeys(m for network in networks for m in network.modules())
        with self.at_test.applied(modules, keys), torch.no_grad():
            yield


def sides(method: Method[Any] | type[Method[Any]], direction: Direction) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Give the inputs and the outputs of a direction, each as role by name.

    Raises:
        ValueError: BtoA of a method that goes one way.
    """
    if direction == "AtoB":
        return method.inputs, method.outputs
    if not method.two_way:
        raise ValueError("BtoA, of a method that goes one way")
    return method.outputs, method.inputs


def image_input(method: Method[Any] | type[Method[Any]]) -> str:
    """Name the input of a method whose only input is an image; empty for other methods."""
    return next(iter(method.inputs)) if list(method.inputs.values()) == ["image"] else ""


def knows_truth(method: Method[Any] | type[Method[Any]]) -> bool:
    """Tell if a sample holds the true output of its inputs, as pairs do."""
    apart = method.inputs.keys().isdisjoint(method.outputs)
    return bool(method.inputs) and bool(method.outputs) and apart and method.needs.domains == 1


def check_declared(method: Method[Any]) -> None:
    """Check that the attributes a method declares go together.

    Raises:
        TypeError: an input or output is not among the fields it needs, or no tensor, or no image; two controls are of
            one kind; or sequences have what they do not support.
    """
    name, fields = type(method).__name__, {*method.needs.in_batch}
    for what, roles in (("input", method.inputs), ("output", method.outputs)):
        for field_name, role in roles.items():
            if field_name not in fields:
                raise TypeError(f"{name}: {what} {field_name}, which is none of its fields {', '.join(sorted(fields))}")
            if role not in NUMBERS | {"flow", "points"} or (what == "output" and role != "image"):
                raise TypeError(
                    f"{name}: {what} {field_name} of role {role}; expected {'tensors' if what == 'input' else 'images'}"
                )
    kinds = [type(control) for control in method.controls.values()]
    if len(kinds) > len({*kinds}):
        raise TypeError(f"{name}: {len(kinds)} controls of {len({*kinds})} kinds; expected one of each kind")
    if method.needs.frames > 1 and (method.control(Labels) or method.encodes or not method.inputs):
        raise TypeError(f"{name}: sequences without inputs, with target labels or with codes of examples")


def check_parameters(method: Method[Any]) -> None:
    """Refuse networks of more than MOST_PARAMETERS, before they take memory: the method may be on the meta device.

    Raises:
        ConfigError: names the flags of their sizes, and the largest network with its size.
    """
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in method.networks.items()}
    if sum(counts.values()) > MOST_PARAMETERS:
        names = [f.name for f in dataclasses.fields(method.config) if f.name.endswith(("base", "blocks"))]
        flags = ", ".join(map(flag, names)) or "--method"
        largest = max(counts, key=lambda name: counts[name])
        size = f"{counts[largest] * 4 / 1e9:,.0f} GB in {largest} alone"
        found = f"networks of {sum(counts.values()):,} parameters ({size})"
        raise ConfigError(flags, found, f"at most {MOST_PARAMETERS:,}", f"Give smaller values of {flags}.")


def _each(given: Values, names: Iterable[str], what: str) -> list[Tensor]:
    """Give the values of these names. Raises ValueError where one is missing."""
    names = list(names)
    if missing := [name for name in names if name not in given]:
        raise ValueError(f"no {what} {missing[0]}, among {', '.join(given) or 'none'}")
    return [given[name] for name in names]


def _parted(found: Any, sizes: list[int]) -> list[Any]:
    """Split a network's output, a tensor (N, ...) or several of them, into parts of these sizes."""
    if isinstance(found, Tensor):
        return [*found.split(sizes)]
    return [type(found)(parts) for parts in zip(*(_parted(one, sizes) for one in found), strict=True)]


def _places(network: nn.Module) -> ParameterPlaces:
    return [(module._parameters, name) for module in network.modules() for name in module._parameters]


def moves(player: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark an objective with the player it moves.

    While the objective is computed, all other players' parameters are frozen, so that no gradient of theirs is ever
    built. Graphs built before the call stay whole.
    """

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


def domain_channels(schema: Schema, direction: Direction) -> tuple[int, int]:
    """Give the channels of the two domains' images, those that go in first."""
    field = schema.fields["image"]
    a, b = (field.on(second).channels for second in ((False, True) if direction == "AtoB" else (True, False)))
    return a, b


def equal_channels(schema: Schema, method: str) -> int:
    """Give the channels of the images of both domains, for a method whose networks read both.

    Raises:
        DataError: they differ.
    """
    a, b = domain_channels(schema, "AtoB")
    if a != b:
        found, expected = f"domains of {a} and {b} channels", f"the same in both: networks of {method} read both"
        raise DataError("--data", found, expected, "Shard the images again with --channels 3, without --channels-b.")
    return a


def paired_channels(schema: Schema, direction: Direction) -> tuple[int, int]:
    """Give the channels of the input and of the output of pairs."""
    a, b = (schema.fields[side].channels for side in ("ab" if direction == "AtoB" else "ba"))
    return a, b
