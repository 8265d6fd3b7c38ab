"""Where a run starts from: what does not fit is named before any worker starts; what fits is taken when asked for.

pytest tests/unit/test_starting.py
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i_core import cli
from i2i_core.checkpoints import checkpoint, starting, trained
from i2i_core.checkpoints.checkpoint import Snapshot
from i2i_core.checkpoints.fitting import layer_of, under
from i2i_core.config.run import TrainConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import CheckpointError, ConfigError, UserError
from i2i_core.methods import build_from
from i2i_core.methods.base import Method
from i2i_core.runs.folder import RunFolder
from pipelines import train

from ..support.methods import SMALL
from ..support.runs import config_of, loop_of


def made(name: str, seed: int = 0, **hyper: Any) -> Method[Any]:
    """A small method; its weights follow from the seed."""
    values = {f"hyper.{key}": value for key, value in (SMALL[name] | hyper).items()}
    return build_from(name, TrainConfig.of(name, "paper", values).hyper, seed=seed)


def averages(method: Method[Any]) -> nn.ModuleDict:
    """Averaged generators, as a step makes them: together, so that what they share stays shared."""
    return copy.deepcopy(nn.ModuleDict({name: method.networks[name] for name in method.generators}))


def saved(name: str, folder: Path, averaged: bool = False, method: Method[Any] | None = None, **hyper: Any) -> str:
    """A checkpoint of the method; its averaged generators are the networks, plus 1."""
    method = method or made(name, seed=7, **hyper)
    for tensor in method.networks.parameters():
        tensor.data += 0.5  # biases, too, are not what a new run begins with
    ema = averages(method) if averaged else None
    for tensor in ema.parameters() if ema else ():
        tensor.data += 1
    tensors, aliases = checkpoint.named_tensors(method.networks, ema)
    config = replace(TrainConfig.of(name, "paper"), hyper=method.config)
    checkpoint.write(RunFolder(str(folder)), Snapshot(12, config, tensors, aliases, {}, {}))
    return str(folder)


def start(run: str, name: str, method: Method[Any], parts: Sequence[str] = (), ema: nn.ModuleDict | None = None) -> str:
    """Fills the method; the line of the log."""
    return starting.read(run, parts, name, method).fill(method, ema)


def refused(run: str, name: str, parts: Sequence[str] = (), **hyper: Any) -> UserError:
    """The error of the driver's check: the method is built without memory."""
    with torch.device("meta"):
        method = made(name, **hyper)
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        starting.read(run, parts, name, method)
    return caught.value


def weights(run: str) -> dict[str, Tensor]:
    return checkpoint.read(trained.find(run)).networks()[0]


def assert_taken(method: Method[Any], source: dict[str, Tensor], fresh: set[str]) -> None:
    """The fresh layers are as the method's seed made them, the others as in the source."""
    before = made_like(method)
    for name, tensor in method.networks.state_dict().items():
        expected = before[name] if layer_of(name) in fresh else source[name]
        assert torch.equal(tensor, expected), name
    known = {layer_of(name) for name in before}
    assert fresh <= known


def made_like(method: Method[Any]) -> dict[str, Tensor]:
    name = next(name for name in SMALL if type(made(name)) is type(method))
    return build_from(name, method.config, seed=1).networks.state_dict()


# What differs -> the run's own sizes (the checkpoint has SMALL's), what is said of each network, what is advised, and
# what `fits` starts fresh
OTHERS: dict[str, tuple[str, dict[str, Any], list[str], list[str], set[str]]] = {
    "classes": (
        "stargan", {"c_dim": 5},
        ["G: net.0.weight 4x4x7x7, here 4x6x7x7", "D: classes.weight 3x16x2x2, here 5x16x2x2"],
        ["data with c_dim 3 in place of 5"], {"G.net.0", "D.classes"},
    ),
    "image size": (
        "stargan", {"image_size": 32}, ["D: classes.weight 3x16x2x2, here 3x16x4x4"],
        ["--image-size 16 in place of 32", "give --init-parts G for what fits as a whole"], {"D.classes"},
    ),
    "depth": (
        "stargan", {"d_layers": 2, "blocks": 2},
        ["D: source.weight 1x16x3x3, here 1x8x3x3; classes.weight 3x16x2x2, here 3x8x4x4; only in the file: trunk.4."],
        ["--d-layers 3 in place of 2", "--blocks 1 in place of 2"], set(),
    ),
    "width of one": (
        "cyclegan", {"d_base": 6}, ["D_X: net.0.weight 4x3x4x4, here 6x3x4x4; net.0.bias 4, here 6", "D_Y: net.0"],
        ["--d-base 4 in place of 6", "give --init-parts G F for what fits as a whole"], {"D_X", "D_Y"},
    ),
    "norm": (
        "pix2pix", {"norm": "batch"}, ["G: not in the file: downs.1.2.weight", "only in the file: net.2.bias"],
        ["--norm instance in place of batch"], {"G.downs.1.2"},
    ),
    "a network more": (
        "cyclegan", {"lambda_gan": 0.0}, ["D_X: not in this run", "D_Y: not in this run"],
        ["give --init-parts G F for what fits as a whole"], set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_start_from_other_networks_names_what_differs_and_as_advised_takes_what_fits(case: str, tmp_path: Path) -> None:
    name, hyper, said, advice, fresh = OTHERS[case]
    run = saved(name, tmp_path / "run")
    error = refused(run, name, **hyper)
    assert error.where == f"--init-from {run}"
    for words in said:
        assert words in error.found
    for words in advice:
        assert words in error.fix
    assert len(str(error).splitlines()) <= 2 + len(made(name).networks), "a line for each network"
    assert "add --init-parts fits" in error.fix
    method = made(name, seed=1, **hyper)
    line = start(run, name, method, ["fits"])
    taken = {layer_of(key) for key, tensor in method.networks.state_dict().items() if same(tensor, weights(run), key)}
    assert not any(under(layer, [*fresh]) for layer in taken)
    for layer in fresh:
        assert layer in line.split("starting fresh: ")[1]
    if "give --init-parts G" in error.fix:
        parts = error.fix.split("give --init-parts ")[1].split(" for")[0].split()
        again = made(name, seed=1, **hyper)
        start(run, name, again, parts)
        for part in parts:
            assert all(same(t, weights(run), f"{part}.{k}") for k, t in again.networks[part].state_dict().items())


def same(tensor: Tensor, source: dict[str, Tensor], name: str) -> bool:
    return name in source and torch.equal(tensor, source[name])


def test_start_from_other_classes_takes_every_other_layer(tmp_path: Path) -> None:
    run = saved("stargan", tmp_path / "run", averaged=True)
    method = made("stargan", seed=1, c_dim=5)
    ema = averages(method)
    line = start(run, "stargan", method, ["fits"], ema)
    assert_taken(method, weights(run), {"G.net.0", "D.classes"})
    layers = {network: len({layer_of(k) for k in module.state_dict()}) for network, module in method.networks.items()}
    taken = ", ".join(f"{layers[network] - 1} of {layers[network]} layers of {network}" for network in "GD")
    left = "G.net.0, D.classes"
    expected = f"{run}/checkpoints/images-000000000012 (12 images): {taken}; starting fresh: {left}; not taken: {left}"
    assert line == f"started from {expected}"
    for name, tensor in ema.state_dict().items():
        fresh = layer_of(name) == "G.net.0"
        assert torch.equal(tensor, method.networks.state_dict()[name] + (not fresh)), (
            "averages start with what they follow"
        )


def test_start_takes_everything_where_nothing_else_is_asked(tmp_path: Path) -> None:
    """Averages as they were saved, and where none were, the networks."""
    for averaged in (True, False):
        run = saved("stargan", tmp_path / f"run-{averaged}", averaged=averaged)
        method = made("stargan", seed=1)
        ema = averages(method)
        line = start(run, "stargan", method, (), ema)
        assert line.endswith("(12 images): G, D; starting fresh: none")
        assert_taken(method, weights(run), set())
        assert all(torch.equal(t, weights(run)[name] + averaged) for name, t in ema.state_dict().items())


def test_start_takes_the_parts_that_are_named(tmp_path: Path) -> None:
    run = saved("stargan", tmp_path / "run", averaged=True, image_size=32)
    method = made("stargan", seed=1)
    ema = averages(method)
    line = start(run, "stargan", method, ["D.trunk", "G.net.1"], ema)
    fresh = {layer_of(name) for name in made_like(method)} - {"D.trunk.0", "D.trunk.2", "D.trunk.4", "G.net.1"}
    assert_taken(method, weights(run), fresh)
    assert torch.equal(ema.state_dict()["G.net.1.weight"], weights(run)["G.net.1.weight"] + 1)
    assert "1 of " in line
    assert "3 of 5 layers of D" in line
    assert "D.source, D.classes" in line.split("starting fresh")[1]
    assert "G.net.10" not in line.split("starting fresh")[0], "a name's beginning ends at a dot"


def test_start_takes_what_fits_of_the_parts_that_are_named(tmp_path: Path) -> None:
    run = saved("stargan", tmp_path / "run", c_dim=5)
    method = made("stargan", seed=1)
    start(run, "stargan", method, ["D", "fits"])
    fresh = {layer_of(name) for name in made_like(method) if name.startswith("G.")} | {"D.classes"}
    assert_taken(method, weights(run), fresh)


def test_start_refuses_parts_that_do_not_fit_or_are_not_there(tmp_path: Path) -> None:
    run = saved("stargan", tmp_path / "run")
    assert "D: classes.weight" in refused(run, "stargan", ["D"], c_dim=5).found
    assert "G:" not in refused(run, "stargan", ["D"], c_dim=5).found, "nobody asked for it"
    assert "for what fits as a whole" not in refused(run, "stargan", ["D"], c_dim=5).fix
    assert "give --init-parts D.trunk for" in refused(run, "stargan", ["D.trunk", "G"], c_dim=5).fix
    unknown = refused(run, "stargan", ["D.trnk"])
    assert unknown.where == "--init-parts"
    assert "Did you mean D.trunk" in unknown.fix
    assert "a network of this run (G, D)" in refused(run, "stargan", ["E"]).expected
    without = saved("cyclegan", tmp_path / "alone", lambda_gan=0.0)
    absent = refused(without, "cyclegan", ["D_X", "G"])
    assert "nothing for D_X" in absent.found
    assert "Give --init-parts what is there: G, F." in absent.fix
    start(without, "cyclegan", made("cyclegan"), ["G", "F"])
    nothing = refused(run, "stargan", ["fits"], g_base=6, d_base=6)
    assert "no layer that fits\n    G: net.0.weight" in nothing.found
    assert "fits" not in refused(run, "stargan", g_base=6, d_base=6).fix, "it would not help"
    with pytest.raises(ConfigError, match="--init-parts: found G fits, without --init-from"):
        TrainingConfig(init_parts=("G", "fits"))


def test_start_fills_a_layer_that_is_tied_by_each_of_its_names(tmp_path: Path) -> None:
    """UNIT's encoders end in one layer, and its generators begin with one."""
    run = saved("unit", tmp_path / "run", averaged=True)
    method = made("unit", seed=1)
    ema = averages(method)
    line = start(run, "unit", method, ["E1", "G2"], ema)
    tied = {name for name in weights(run) if name.startswith(("E2.shared", "G1.shared"))}
    assert tied, "the layers that are tied"
    source = weights(run)
    filled = {layer_of(name) for name in source if name.startswith(("E1.", "G2.")) or name in tied}
    assert_taken(method, source, {layer_of(name) for name in source} - filled)
    for name in tied:
        assert torch.equal(ema.state_dict()[name], source[name] + 1)
    ours = method.networks.state_dict(keep_vars=True)
    assert all(ours[name] is ours[name.replace("E2", "E1").replace("G1", "G2")] for name in tied)
    assert f"{len({layer_of(n) for n in tied if n.startswith('E2')})} of " in line
    assert "D1, D2" in line.split("starting fresh: ")[1]


def test_start_refuses_two_values_for_a_layer_that_is_tied(tmp_path: Path) -> None:
    apart = made("unit", seed=7)
    other = made("unit", seed=8)
    apart.networks["E2"] = other.networks["E2"]
    run = saved("unit", tmp_path / "run", method=apart)
    error = refused(run, "unit")
    assert "E2: E2.shared" in error.found
    assert "here, and another in the file" in error.found
    method = made("unit", seed=1)
    line = start(run, "unit", method, ["fits"])
    assert "E1.shared" in line.split("starting fresh: ")[1]
    assert torch.equal(method.networks.state_dict()["E1.own.0.weight"], weights(run)["E1.own.0.weight"])


def test_start_refuses_a_damaged_checkpoint_and_another_method(tmp_path: Path) -> None:
    run = saved("stargan", tmp_path / "run")
    assert "a checkpoint of stargan" in refused(run, "pix2pix").found
    file = tmp_path / "run/checkpoints/images-000000000012/networks.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert "other bytes than were written" in refused(run, "stargan").found


def test_start_is_checked_by_the_driver_and_said_in_the_log(
    labelled: str,
    storage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: list[str],
) -> None:
    """The run's own checkpoint counts from then on."""
    run = saved("stargan", tmp_path / "run", c_dim=7)
    from_it = {"training__init_from": run, "training__images": 12}
    with pytest.raises(CheckpointError, match=r"D: classes\.weight 7x16x2x2, here 4x16x2x2"):
        config_of("stargan", labelled, storage, **from_it)
    config = config_of("stargan", labelled, storage, **from_it, training__init_parts=("fits",))
    said.clear()
    loop = loop_of(config)
    assert any(line.startswith(f"started from {run}/checkpoints/images-000000000012 (12 images): ") for line in said)
    loop.train()
    said.clear()
    loop_of(config)
    assert [line for line in said if "started" in line] == []
    capsys.readouterr()
    small = ["--method", "stargan", "--preset", "demo", "--image-size", "16", "--d-layers", "3", "--blocks", "1"]
    small += [
        "--g-base",
        "4",
        "--d-base",
        "4",
        "--data",
        labelled,
        "--storage",
        storage,
        "--dry-run",
        "--init-from",
        run,
    ]
    for parts, code in (([], 2), (["--init-parts", "fits"], 0), (["--init-parts", "G.net.3", "D.trunk"], 0)):
        monkeypatch.setattr(sys, "argv", ["train.py", *small, *parts])
        with pytest.raises(SystemExit) as ended:
            cli.main(train.run)
        assert ended.value.code == code, capsys.readouterr()
