"""What makes a step faster changes nothing but rounding, and is chosen as it says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError
from i2i_core.methods.base import Progress
from i2i_core.training import fast
from i2i_core.training.fast import Choice, Fast, agreed, check_possible, choose
from i2i_core.training.step import Step
from i2i_core.training.sync import World

from ..support.methods import ALONE, SMALL, Case, batches, run, small, step_of_case
from ..support.workers import on_workers

CPU = torch.device("cpu")
UPDATES_OF_A_FREE_RUN = 200


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch.compile trace networks, forward and backward, and run what it found without generating code."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def saved(step: Step) -> dict[str, Any]:
    return copy.deepcopy({"networks": step.method.networks.state_dict(), "optimisers": step.state_dict(),
                          "pools": step.pools()})  # fmt: skip


def loaded(step: Step, state: dict[str, Any], slots: tuple[int, int]) -> None:
    state = copy.deepcopy(state)
    step.method.networks.load_state_dict(state["networks"])
    step.load_state_dict(state["optimisers"])
    step.load_pools(state["pools"], slots)


def largest_moment(step: Step) -> dict[str, tuple[float, float]]:
    """By parameter, its gradients' mean as Adam keeps it (SGD: its momentum), at its largest; and that of its player's
    at its largest."""
    names = {p: name for name, p in step.method.networks.named_parameters()}
    found = {}
    for mover in step.movers.values():
        kept = {p: held.get("exp_avg", held.get("momentum_buffer")) for p, held in mover.optimiser.state.items()}
        own = {p: p.grad.abs().max().item() if mean is None else mean.abs().max().item() for p, mean in kept.items()}
        found |= {names[p]: (most, max(own.values())) for p, most in own.items()}
    return found


def one_update_from_each_state(case: Case, options: tuple[str, ...], states: int) -> dict[str, float]:
    """By parameter, the largest difference after one update from each of some states of a plain run, as a share of
    what that update changed at its largest.

    Left out are those whose gradient is 0 but for rounding, of which Adam makes a move: a bias before a norm.
    """
    plain = step_of_case(small(case), case)
    other = step_of_case(small(case), replace(case, fast=options))
    progress, feed = Progress(), batches(plain.method, case, ALONE)
    found: dict[str, float] = {}
    for _ in range(states):
        state, at = saved(plain), Progress(progress.images, dict(progress.moves))
        loaded(other, state, (0, case.batch))
        other(map(other.place, batches(plain.method, case, ALONE, progress.images // case.batch)), at)
        plain(feed, progress)
        assert at.images == progress.images
        after, moments = dict(other.method.networks.named_parameters()), largest_moment(plain)
        for name, p in plain.method.networks.named_parameters():
            own, most = moments.get(name, (0.0, 1.0))  # of a player that has not moved yet there are none
            moved = (p - state["networks"][name]).abs().max().item()
            if own > 1e-9 * most and moved:
                found[name] = max(found.get(name, 0.0), (after[name] - p).abs().max().item() / moved)
    return found


@pytest.mark.parametrize("states", [3, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", SMALL)
def test_fast_update_equals_the_plain_one_from_each_state(name: str, batch: int, states: int) -> None:
    """In float64, so that a difference is a mistake and not rounding."""
    differences = one_update_from_each_state(Case(name, batch=batch), ("channels_last", "passes"), states)
    assert len(differences) > 3
    assert max(differences.values()) < 1e-5, sorted(differences.items(), key=lambda pair: -pair[1])[:10]


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", [n if n == "pix2pix" else pytest.param(n, marks=pytest.mark.slow) for n in SMALL])
def test_compiled_update_equals_the_plain_one(name: str) -> None:
    differences = one_update_from_each_state(Case(name, batch=2), ("compile",), 2)
    assert max(differences.values()) < 1e-5, sorted(differences.items(), key=lambda pair: -pair[1])[:10]


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
def test_compiled_network_is_differentiated_twice_as_written() -> None:
    """WGAN-GP's penalty goes through a compiled critic."""
    case = Case("cyclegan", batch=2, hyper={"adversarial": "wgan-gp"})
    assert max(one_update_from_each_state(case, ("compile",), 2).values()) < 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
def test_compile_is_of_training_alone_and_once_for_all_updates() -> None:
    case = Case("bicyclegan", hyper={"dropout": 0.5, "image_size": 64}, fast=("compile",), batch=2)
    method = small(case)
    step, progress, feed = step_of_case(method, case), Progress(), batches(method, case, ALONE)
    step(feed, progress)
    step(feed, progress)
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert compiled
    for _ in range(3):
        step(feed, progress)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled, "compiled again"
    assert "forward" not in vars(method.networks["G"])


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("options", [("compile",), ("passes", "channels_last"), ("bf16",)], ids="+".join)
def test_influence_is_known_with_every_fast_option(options: tuple[str, ...]) -> None:
    case = Case("cyclegan", batch=2, dtype=torch.float32)
    found = []
    for named in ((), options):
        method = small(case)
        step = step_of_case(method, replace(case, fast=named))
        step(map(step.place, batches(method, case, ALONE)), Progress())
        found.append({player: (names, weights.tolist()) for player, (names, weights) in step.influence.items()})
    assert found[0] == found[1]
    assert any(weight > 1 for _, weights in found[0].values() for weight in weights), "lambda_cyc is 10"


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_fast_updates_part_by_a_rounding_after_two_hundred(name: str) -> None:
    """In float64, from the plain run: as far as that from one whose first weights were rounded once more."""
    case = Case(name, batch=1, updates=UPDATES_OF_A_FREE_RUN)
    plain = run(case)

    def distance(other: dict[str, torch.Tensor]) -> float:
        return max((plain[key] - other[key]).abs().max().item() for key in plain if key.endswith("weight"))

    rounded = distance(run(replace(case, rounded=True)))
    assert distance(run(replace(case, fast=("channels_last", "passes")))) <= max(1e-9, 20 * rounded)


@pytest.mark.parametrize("options", [("bf16", "channels_last"), ("channels_last", "passes")], ids="+".join)
@pytest.mark.parametrize("name", SMALL)
def test_fast_run_resumes_bit_for_bit(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    case, file = Case(name, batch=2, dtype=torch.float32, fast=options), str(tmp_path / "state.pt")
    whole = run(replace(case, updates=4))
    run(replace(case, updates=2, save=file))
    resumed = run(replace(case, updates=2, resume=file))
    for key in whole:
        assert torch.equal(whole[key], resumed[key]), key


@pytest.mark.parametrize("name", SMALL)
def test_bf16_is_near_float32(name: str) -> None:
    """Means of two updates' terms; the first updates of a run have not parted yet."""
    case = Case(name, batch=2, dtype=torch.float32, updates=2)
    plain, other = run(case), run(replace(case, fast=("bf16",)))
    terms = [key for key in plain if "/" in key and "grad_norm" not in key and "right" not in key]
    assert terms
    for key in terms:
        assert torch.allclose(plain[key], other[key], rtol=0.05, atol=0.02), (key, plain[key], other[key])


# ---------------------------------------------------------------- what an option does


def outputs_of_convolutions(case: Case) -> set[torch.dtype]:
    """Types of what convolutions give in an update, penalty included."""
    method, found = small(case), set[torch.dtype]()
    for layer in method.networks.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda module, given, out: found.add(out.dtype))
    step = step_of_case(method, case)
    step(map(step.place, batches(method, case, ALONE)), Progress())
    return found


def test_bf16_is_of_convolutions_and_not_of_the_penalty() -> None:
    case = Case("pix2pix", batch=2, dtype=torch.float32)
    assert outputs_of_convolutions(case) == {torch.float32}
    assert outputs_of_convolutions(replace(case, fast=("bf16",))) == {torch.bfloat16}
    penalised = replace(case, fast=("bf16",), hyper={"adversarial": "wgan-gp"})
    assert outputs_of_convolutions(penalised) == {torch.bfloat16, torch.float32}


def test_channels_last_lays_out_weights_and_images() -> None:
    case = Case("pix2pix", fast=("channels_last",))
    step = step_of_case(small(case), case)
    weights = [p for p in step.method.parameters() if p.ndim == 4]
    images = step.place(next(batches(step.method, case, ALONE))).fields.values()
    assert weights
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in (*weights, *images))
    assert not all(x.is_contiguous() for x in weights)
    assert not any(x.is_contiguous() for x in images)


def calls_of(case: Case, network: str) -> int:
    method, calls = small(case), list[int]()
    method.networks[network].register_forward_hook(lambda module, given, out: calls.append(len(given[0])))
    step_of_case(method, case)(batches(method, case, ALONE), Progress())
    return len(calls)


@pytest.mark.parametrize(
    ("case", "network", "apart", "together"),
    [
        (Case("cyclegan"), "G", 3, 2),
        (Case("cyclegan"), "D_X", 3, 2),
        (Case("unit"), "G1", 3, 2),
        (Case("pix2pix"), "D", 3, 2),
        (Case("pix2pix", hyper={"norm": "batch"}), "D", 3, 3),
    ],
    ids=["G of CycleGAN", "D of CycleGAN", "G of UNIT", "D of pix2pix", "with batch norm"],
)
def test_passes_are_fewer_calls(case: Case, network: str, apart: int, together: int) -> None:
    assert calls_of(case, network) == apart
    assert calls_of(replace(case, fast=("passes",)), network) == together


# ---------------------------------------------------------------- what is chosen


LARGE = nn.Sequential(nn.Conv2d(3, 512, 9))
TINY = nn.Conv2d(3, 4, 3)


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    return lambda bf16: monkeypatch.setattr(fast, "has_bf16", lambda device: bf16)


def test_auto_takes_bf16_where_the_cpu_has_it(able: Callable[[bool], None]) -> None:
    able(True)
    assert choose(("auto",), LARGE, CPU).fast == Fast.named("bf16", "channels_last")


def test_auto_stays_with_float32_where_the_cpu_has_no_bf16_and_says_so(able: Callable[[bool], None]) -> None:
    able(False)
    choice = choose(("auto",), LARGE, CPU)
    assert choice.fast == Fast.named("channels_last")
    assert "not bf16: this device has no bf16 arithmetic" in choice.said()


def test_auto_leaves_tiny_networks_in_float32(able: Callable[[bool], None]) -> None:
    able(True)
    choice = choose(("auto",), TINY, CPU)
    assert choice.fast == Fast.named("channels_last")
    assert "112 weights are too small to gain by it" in choice.said()


def agreement(world: World) -> tuple[tuple[str, ...], dict[str, str]]:
    """What is agreed where the last worker's device has no bf16."""
    has_it = world.rank < world.size - 1
    found = agreed(Choice(Fast.named(*(["bf16"] if has_it else []), "channels_last")), world)
    return found.fast.names, found.why_not


@pytest.mark.processes
def test_agreed_options_are_those_of_every_worker() -> None:
    first, last = on_workers(2, agreement)
    assert first[0] == last[0] == ("channels_last",)
    assert first[1] == {"bf16": "not every worker's device takes it"}


def test_choose_takes_off_and_a_list_as_they_are() -> None:
    assert choose(("off",), LARGE, CPU).fast == Fast()
    assert choose(("passes", "bf16"), LARGE, CPU).fast.names == ("bf16", "passes")


def test_check_possible_refuses_what_cannot_be_and_names_what_can(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"(?s)--fast: found graphs.*a CPU has no launches to save.*Give --fast bf16"):
        check_possible(("bf16", "graphs"), CPU, 1, again=False)
    with pytest.raises(ConfigError, match="gradients of several workers are summed between the moves"):
        check_possible(("graphs",), torch.device("cuda"), 2, again=False)
    with pytest.raises(ConfigError, match=r"(?s)one worker sends no gradients.*Give --fast auto"):
        check_possible(("bf16_sums",), CPU, 1, again=False)
    check_possible(("bf16_sums", "channels_last", "passes"), CPU, 2, again=False)
    with pytest.raises(ConfigError, match="--checkpoint-activations has blocks computed again"):
        check_possible(("compile",), CPU, 1, again=True)
    monkeypatch.setattr(fast.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="compiling for a CPU needs a C\\+\\+ compiler"):
        check_possible(("compile",), CPU, 1, again=False)
    assert choose(("auto",), LARGE, CPU).fast.channels_last, "auto works without a compiler"


def test_choose_leaves_off_what_a_worker_cannot_and_says_why() -> None:
    """An elastic run goes on with one worker, which has nobody to send gradients to."""
    choice = choose(("bf16_sums", "channels_last"), LARGE, CPU)
    assert choice.fast == Fast.named("channels_last")
    assert choice.said() == "fast: channels_last (not bf16_sums: one worker sends no gradients)"
    assert choose(("bf16_sums",), LARGE, CPU, workers=2).fast == Fast.named("bf16_sums")


@pytest.mark.parametrize("names", [("auto", "bf16"), ("off", "bf16"), ("bf17",), ()])
def test_fast_flag_refuses_a_list_that_means_nothing(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="--fast"):
        TrainingConfig(fast=names)
