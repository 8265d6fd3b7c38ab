"""Make one update of a method. No other module moves a weight.

A method's `update` yields moves. For each move the step zeroes the player's gradients, runs backward into that
player's parameters alone, sums the gradients over ranks, checks that they are finite, clips them, lets the optimiser
move, and calls the player's `after_move`. With micro-batches one run of `update` for each part advances side by side,
so that every part of a move sees the same weights: accumulation is exact even where a critic moves in between.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from i2i_core.batch import Batch
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import RunError
from i2i_core.methods.at_test import has_batch_norm
from i2i_core.methods.base import Method, Move, Player, Progress, Terms
from i2i_core.tensors import host_copy
from i2i_core.training.buffers import Passes
from i2i_core.training.fast import Fast
from i2i_core.training.finite import FiniteWatch
from i2i_core.training.layers import Layers
from i2i_core.training.optim import load_state, make_optimiser, move, state_of
from i2i_core.training.recorded import Recorded
from i2i_core.training.stages import Stages, frozen, moving
from i2i_core.training.sync import GradientSum, World, average_buffers
from i2i_core.training.timing import Stopwatch

Wish = Literal["save", "stop"]
WISHES: dict[Wish, float] = {"save": 1, "stop": 1024}
"""What a rank's request adds to the sum over ranks. Any number of requests to save is less than one to stop."""


@dataclass
class Mover:
    """Hold a player with its optimiser and the sum of its gradients.

    Attributes:
        parameters: those that move in the present stage. The optimiser has all of the player's parameters: it skips
            those without a gradient, and keeps their moments.
    """

    player: Player
    parameters: list[nn.Parameter]
    optimiser: torch.optim.Optimizer
    gradients: GradientSum
    lr: float
    """The learning rate of the last move."""


class Feed:
    """Cut the batches of one update into micro-batches: run m of the method gets the m-th part of each."""

    def __init__(self, batches: Iterator[Batch], most: int, world: World) -> None:
        self.batches, self.most = (replace(batch, summed=world.summed) for batch in batches), most
        first = next(self.batches)
        self.began, self.ended = first.images, first.images + first.size
        self.current = first.split(most)
        self.share = sum(part.weight for part in self.current)
        self.taken: list[list[Batch | None]] = [[*self.current]]
        """The parts of every batch that their runs have yet to take; None for those taken."""

    def part(self, m: int) -> Iterator[Batch]:
        """Return the iterator that run m takes its parts from."""
        k = 0
        while True:
            if k == len(self.taken):
                batch = next(self.batches)
                self.ended = batch.images + batch.size
                self.taken.append([*batch.split(self.most)])
            part, self.taken[k][m] = self.taken[k][m], None
            assert part is not None, "each run takes a batch once"
            self.current[m] = part
            yield part
            k += 1


@dataclass
class Gathered:
    """Accumulate the parts of a move. `terms` are sums, each part weighted by its share of the global batch."""

    player: str
    names: tuple[str, ...]
    terms: Tensor
    poison: Tensor
    """A scalar, 0 while every part's loss is finite, else NaN."""
    share: float = 0.0


@dataclass
class Sums:
    """Add up a player's terms over its moves since they were last read."""

    names: tuple[str, ...]
    total: Tensor
    moves: int = 0


class Step:
    """Make updates of a method: `step(batches, progress)` takes the batches of one update and moves the weights.

    Args:
        method: the method, on its device.
        config: accumulation, clipping, moving average, seed.
        world: this rank among its peers, over whom gradients are summed.
        lr_factor: gives the factor of all learning rates after a number of images.
        stages: the run's stages; None for a run without.
        fast: the options that make it faster; by default plain eager fp32.

    Attributes:
        ema: the moving average of the generators, or None.
        stopwatch: measures how long moves take.
        asked: after an update, what any rank had requested in the update before; the same on every rank.
    """

    def __init__(
        self,
        method: Method[Any],
        config: TrainingConfig,
        world: World,
        lr_factor: Callable[[int], float],
        stages: Stages | None = None,
        fast: Fast = Fast(),  # noqa: B008  it is frozen
    ) -> None:
        self.method, self.config, self.world, self.lr_factor, self.fast = method, config, world, lr_factor, fast
        self.device = method.device
        method.passes_together = fast.passes
        if fast.channels_last:
            method.networks.to(memory_format=torch.channels_last)
        self.stages, self.stage = stages, -1
        """The stages, and the number of the one that is set up; -1 before the first update."""
        self.still: set[nn.Parameter] = set()
        """The parameters that are frozen in the present stage."""
        self.values = {name: torch.zeros((), device=self.device) for name in method.schedule}
        """The values of `Progress.value`, filled in place, so that a recorded update sees them change."""
        self.movers = {name: self._mover(name, player) for name, player in method.players.items()}
        self.watch = FiniteWatch(self.device, world)
        self.layers = self._layers()
        # Together, so that a parameter that two generators share is averaged once.
        self.generators = nn.ModuleDict({name: method.networks[name] for name in method.generators})
        self.ema = copy.deepcopy(self.generators).requires_grad_(False) if config.ema_halflife else None
        self.sums: dict[str, Sums] = {}
        self.influence: dict[str, tuple[tuple[str, ...], Tensor]] = {}
        """Names of each player's terms, and their weights in its loss, (T,), found since terms were last read."""
        self.stopwatch = Stopwatch(self.device)
        self.wishes: deque[Wish] = deque()
        self.recorded = Recorded(self) if fast.graphs else None
        self.asked: Wish | None = None

    def _layers(self) -> Layers:
        """Set up the layers that run in a special way in training. All ranks call this together."""
        together = self.config.batch_norm == "global" and has_batch_norm(self.method.networks.values())
        if together and self.config.micro_batch:
            raise ValueError("batch norm over the whole batch, which a micro-batch of it cannot know")
        world = self.world.apart() if together and self.world.size > 1 else None
        return Layers(
            self.method.networks,
            world,
            autocast=self.fast.bf16,
            compiled=self.fast.compile,
            checkpoint=self.config.checkpoint_activations,
            extras=self.method.extras,
            values=self.values,
        )

    def ask(self, what: Wish) -> None:
        """Request that all ranks save, or save and stop. The request travels with the gradients of the next move. Any
        thread and any signal handler may call this."""
        self.wishes.append(what)

    def place(self, batch: Batch) -> Batch:
        """Copy a batch to the networks' device, with their type and memory format."""
        weight = next(self.method.parameters())
        placed = batch.to(weight.device, weight.dtype)
        return placed.laid_out(torch.channels_last) if self.fast.channels_last else placed

    def _mover(self, name: str, player: Player) -> Mover:
        parameters = self.method.parameters_of(name)
        optimiser = make_optimiser(parameters, player.optimiser, self.fast.graphs)
        return Mover(player, parameters, optimiser, self._sum(parameters), player.optimiser.lr)

    def _sum(self, parameters: list[nn.Parameter]) -> GradientSum:
        return GradientSum(parameters, self.world, dtype=torch.bfloat16 if self.fast.bf16_sums else None)

    @property
    def frames(self) -> int:
        """Frames of a sequence in the present stage; 1 where samples are single images."""
        return self.stages[max(0, self.stage)].frames if self.stages else self.method.needs.frames

    def enter(self, progress: Progress) -> bool:
        """Enter the stage of the next update. Return whether it differs from the last update's."""
        number = self.stages.at(progress.images) if self.stages else 0
        changes = number != progress.stage
        if self.stages and changes and self.stages.entered_anew(progress.stage, number):
            for name, mover in self.movers.items():
                made = make_optimiser(self.method.parameters_of(name), mover.player.optimiser, self.fast.graphs)
                mover.optimiser = made
        progress.stage = number
        self.set_up(progress)
        return changes

    def set_up(self, progress: Progress) -> None:
        """Set the method to the stage of its last update: which players move, and which parameters are frozen."""
        method = self.method
        progress.values = self.values
        if self.stage == progress.stage and progress.players:
            return
        self.stage = method.stage = progress.stage
        progress.players = tuple(self.movers)
        if self.stages is None:
            return
        stage = self.stages[self.stage]
        progress.players = moving(stage, method)
        before, self.still = self.still, frozen(stage, method.networks)
        for p in before | self.still:
            p.requires_grad_(p not in self.still)
        for name, mover in self.movers.items():
            own = [p for p in method.parameters_of(name) if p not in self.still]
            if {*own} != {*mover.parameters} and own:
                mover.parameters, mover.gradients = own, self._sum(own)

    def __call__(self, batches: Iterator[Batch], progress: Progress) -> None:
        """Make one update. `progress.images` keeps its value until the update is over.

        Raises:
            NonFiniteError: an earlier move was not finite; neither it nor any since has moved a weight.
            RunError: nothing moves in this stage, or a loss depends on nothing that does.
        """
        self.enter(progress)
        for name, value in self.values.items():
            value.fill_(self.method.schedule[name](progress.images))
        if self.recorded is None:
            self.update(batches, progress)
        else:
            self.recorded.update(batches, progress)
        self.watch.end_of_update()
        wishes = self.watch.take()
        self.asked = None if not wishes else "stop" if wishes >= WISHES["stop"] else "save"

    def update(self, batches: Iterator[Batch], progress: Progress, told: Any = None) -> None:
        """Run the method's update, and set `progress` to its end.

        Args:
            told: the object that the update gets in place of `progress`; None for `progress` itself.
        """
        feed = Feed(batches, self.config.micro_batch, self.world)
        idle = self.movers.keys() - {*progress.players}
        told = progress if told is None else told
        runs = [_without(idle, self.method.update(feed.part(m), told)) for m in range(len(feed.current))]
        passes = Passes(self.method.networks, [part.weight / feed.share for part in feed.current])
        made = 0
        while self._move(runs, feed, progress, passes, made):
            made += 1
        if idle and not made:
            raise RunError(f"stage {self.stage + 1}: an update made no move of {', '.join(progress.players)}")
        average_buffers(self.method.networks, self.world, feed.share, self.layers.alike)
        self._average(feed.ended - feed.began)
        progress.images = feed.ended

    def _move(self, runs: list[Iterator[Move]], feed: Feed, progress: Progress, passes: Passes, made: int) -> bool:
        """Make one move: backward of every part, then the weights. Return False once the update is over."""
        gathered = None
        if not self._recording:
            self.stopwatch.start()
        for m, run in enumerate(runs):
            passes.begin(m)
            yielded = self._segment(run, feed, m, made)
            passes.end(m)
            if yielded is not None:
                gathered = self._backward(yielded, gathered, feed.current[m].weight, last=m == len(runs) - 1)
        if gathered is None:
            return False
        self._step(gathered, feed.current[0].images)
        if not self._recording:
            self.stopwatch.stop(gathered.player)
        progress.moves[gathered.player] = progress.moves.get(gathered.player, 0) + 1
        return True

    def _backward(self, yielded: Move, gathered: Gathered | None, weight: float, last: bool) -> Gathered:
        """Add the gradients of one part, weighted by its share of the global batch."""
        player, loss, terms, *scores = yielded
        if not loss.requires_grad:
            raise RunError(f"stage {self.stage + 1}: the loss of {player} depends on nothing of it that moves")
        mover = self.movers[player]
        if self.influence.get(player, ((),))[0] != tuple(terms):
            self.influence[player] = (tuple(terms), influence(loss, terms))
        terms = {**terms, **(scores[0] if scores else {})}
        values = torch.stack([t.detach().float() for t in (*terms.values(), loss)]) * weight
        loss = loss * weight
        if gathered is None:
            mover.optimiser.zero_grad(set_to_none=True)
            gathered = Gathered(player, (*terms, "loss"), torch.zeros_like(values), torch.zeros_like(loss))
        gathered.terms += values
        gathered.share += weight
        gathered.poison += loss.detach() * 0
        if last:
            mover.gradients.listen(gathered.poison, 0.0 if self._recording else self.wish())
        loss.backward(inputs=mover.parameters)
        return gathered

    @property
    def _recording(self) -> bool:
        return self.recorded is not None and self.recorded.recording

    def wish(self) -> float:
        """Return the largest request of this rank since the last call."""
        wish = 0.0
        while self.wishes:
            wish = max(wish, WISHES[self.wishes.popleft()])
        return wish

    def _step(self, gathered: Gathered, images: int) -> None:
        """Sum gradients over ranks, judge and clip them, move, and call the player's `after_move`."""
        mover = self.movers[gathered.player]
        norm = get_total_norm(mover.gradients.finish()) + gathered.poison
        values = self.watch.judge(norm, gathered.terms / gathered.share, mover.gradients.wishes)
        self.watch.note(gathered.player, images, gathered.names, values)
        if self.config.clip_grad:
            clip_grads_with_norm_(mover.parameters, self.config.clip_grad, norm)
        mover.lr = mover.player.optimiser.lr * self.lr_factor(images)
        move(mover.optimiser, self.recorded.rate() if self.recorded and self._recording else mover.lr, self.watch.stop)
        if mover.player.after_move:
            mover.player.after_move(self.watch.stop)
        # The norm is already of the whole batch: weighted by this worker's share, the sum over workers is itself.
        self._add(gathered, torch.cat([gathered.terms, gathered.share * norm.detach().float()[None]]))

    def _segment(self, run: Iterator[Move], feed: Feed, m: int, made: int) -> Move | None:
        """Run the method's code of part m up to its next move, under its own autocast: held open across a move,
        autocast would keep the moved network's old bf16 weights."""
        # No rank and no m in the seed of dropout's masks: every part cuts its own from the same draws.
        past = feed.current[m].images - feed.began
        layers = self.layers.running(feed.current[m], self.config.seed, 0, lambda b: b.images - past, 0, made)
        with layers, torch.autocast(self.device.type, torch.bfloat16, enabled=self.fast.bf16):
            return next(run, None)

    def _add(self, gathered: Gathered, terms: Tensor) -> None:
        names = (*gathered.names, "grad_norm")
        sums = self.sums.get(gathered.player)
        if sums is None or sums.names != names:
            sums = self.sums[gathered.player] = Sums(names, torch.zeros_like(terms))
        sums.total += terms
        sums.moves += 1

    def read_terms(self, *also: Tensor) -> tuple[list[str], Tensor]:
        """Average every term over the global batch and over the moves since the last call. Return names, `player/term`,
        and values on the device. Every rank calls this at the same time.

        Args:
            also: numbers of this rank, (n,) on the device, whose sums over ranks follow the values.
        """
        moved = self._moved()
        names = [f"{player}/{name}" for player, sums in moved.items() for name in sums.names]
        means = [sums.total / sums.moves for sums in moved.values()]
        for sums in moved.values():
            sums.total.zero_()  # in place: a recorded update adds to this very tensor
            sums.moves = 0
        self.influence = {}
        return names, self.world.sum_(torch.cat([*means, *also])) if means or also else torch.zeros(0)

    def _moved(self) -> dict[str, Sums]:
        """Return the sums of the players that moved since terms were last read, in the order of the players."""
        return {player: self.sums[player] for player in self.movers if player in self.sums and self.sums[player].moves}

    def unread(self) -> dict[str, Any] | None:
        """Copy the terms that `read_terms` has not read yet, of every rank, to rank 0's host; return None on other
        ranks. All ranks call this together. The copy shares no memory with the sums, which change while it is
        written."""
        mine = {player: (sums.names, sums.total, sums.moves) for player, sums in self._moved().items()}
        every = self.world.to_leader(host_copy(mine))
        return None if every is None else {"sums": every, "influences": host_copy(self.influence)}

    def load_unread(self, state: dict[str, Any]) -> None:
        """Load what `unread` gave: in a world of the same size each rank its own sums, else rank 0 all of them."""
        every = state["sums"]
        own = every[self.world.rank : self.world.rank + 1] if len(every) == self.world.size else every
        for player, (names, total, moves) in every[0].items():
            sums = self.sums[player] = Sums(names, torch.zeros_like(total, device=self.device), moves)
            if len(every) == self.world.size or self.world.leads:
                sums.total += torch.stack([one[player][1] for one in own]).sum(0).to(self.device)
        self.influence = {p: (names, weights.to(self.device)) for p, (names, weights) in state["influences"].items()}

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each player's last move."""
        return {name: mover.lr for name, mover in self.movers.items()}

    @torch.no_grad()
    def _average(self, images: int) -> None:
        """Advance the moving average of the generators, whose half-life is `ema_halflife` images."""
        if self.ema is None:
            return
        keep = 0.5 ** (images / self.config.ema_halflife)
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.generators.parameters()), 1 - keep)
        for mean, now in zip(self.ema.buffers(), self.generators.buffers(), strict=True):
            mean.copy_(now)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the method use its averaged generators, where there are any, inside the block."""
        trained = {name: self.method.networks[name] for name in self.ema or {}}
        self.method.networks.update(dict(self.ema or {}))
        try:
            yield
        finally:
            self.method.networks.update(trained)

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' states: what a resumed run needs besides networks, moving average and histories."""
        return {name: state_of(mover.optimiser, mover.lr) for name, mover in self.movers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, mover in self.movers.items():
            load_state(mover.optimiser, state[name])
            mover.lr = state[name]["param_groups"][0]["lr"]

    def pools(self) -> dict[str, list[Any]]:
        """Return every rank's histories of made images, by name, on rank 0. All ranks call this together."""
        mine = {name: host_copy(pool.state()) for name, pool in self.method.pools.items()}
        everyone = self.world.to_leader(mine) if mine else None
        return {name: [worker[name] for worker in everyone] for name in mine} if everyone else {}

    def load_pools(self, pools: dict[str, list[Any]], slots: tuple[int, int]) -> None:
        """Load this rank's slots of saved histories, whatever the world size was that held them."""
        for name, pool in self.method.pools.items():
            pool.load(pools.get(name, []), slots, self.device)


def _without(idle: Collection[str], moves: Iterator[Move]) -> Iterator[Move]:
    """Leave out the moves of some players."""
    return (move for move in moves if move[0] not in idle)


def influence(loss: Tensor, terms: Terms) -> Tensor:
    """Return d loss / d term, (T,): each term's weight (lambda) in the loss; 0 for a term that is no part of it."""
    known = [name for name, term in terms.items() if term.requires_grad]
    found: dict[str, Tensor | None] = {}
    if known and loss.requires_grad:
        of = torch.autograd.grad(loss, [terms[name] for name in known], retain_graph=True, allow_unused=True)
        found = dict(zip(known, of, strict=True))
    weights = [found.get(name) for name in terms]
    return torch.stack([torch.zeros_like(loss) if w is None else w for w in weights]).detach().float()
