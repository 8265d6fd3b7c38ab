"""Images are made as the networks were trained: batch norm's statistics and dropout at test time.

pytest tests/unit/test_at_test.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from i2i_core.checkpoints import checkpoint, trained
from i2i_core.checkpoints.checkpoint import Snapshot, named_tensors
from i2i_core.checkpoints.norm_batches import NormBatches, norm_batches_of_a_batch, norm_batches_of_a_run
from i2i_core.checkpoints.trained import Trained, load_trained
from i2i_core.config.evaluation import AtTestOptions, EvaluationConfig
from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import in_order
from i2i_core.errors import ConfigError
from i2i_core.evaluation.suite import evaluate
from i2i_core.methods import build_from, build_method
from i2i_core.methods.at_test import AtTest, run_by
from i2i_core.methods.base import Method
from i2i_core.methods.pix2pix import Pix2Pix
from i2i_core.orchestration import evaluating
from i2i_core.randomness import seed_from
from i2i_core.runs.folder import RunFolder
from i2i_core.training.preparing import check_same_run
from pipelines import evaluate as evaluate_pipeline

from ..support.methods import SMALL
from ..support.runs import as_version_1, config_of, loop_of
from ..support.translating import files, go, noise, pixels, save

CPU = torch.device("cpu")
AUTO = AtTestOptions()
EVERY = [AtTest(norm, on) for norm in ("image", "running") for on in (False, True)]
PIX2PIX: dict[str, Any] = {"hyper__image_size": 32, "hyper__norm": "batch", "hyper__dropout": 0.5}
"""One dropout: a U-Net of 32 px has one up-block of the full width."""


def saw_training(networks: nn.Module) -> None:
    """Fill running statistics and the norms' scales and shifts with numbers of their own."""
    generator = torch.Generator().manual_seed(4)
    for module in networks.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for tensor, low in ((module.running_mean, -0.1), (module.running_var, 0.01), (module.weight.data, 0.5)):
                tensor.copy_(low + 0.2 * torch.rand(tensor.shape, generator=generator))


def kept(
    data: str, folder: Path, norm_batches: NormBatches | None = None, method: str = "pix2pix", **values: object
) -> str:
    """Write a checkpoint of networks that look trained, and return its run."""
    config = config_of(method, data, str(folder), **{**(PIX2PIX if method == "pix2pix" else {}), **values})
    networks = build_from(config.method, config.hyper, seed=3).networks
    saw_training(networks)
    tensors, aliases = named_tensors(networks, None)
    checkpoint.write(RunFolder(f"{folder}/run"), Snapshot(36, config, tensors, aliases, {}, {}, norm_batches or {}))
    return f"{folder}/run"


def loaded(run: str) -> Trained:
    return load_trained(run, CPU)


# ---------------------------------------------------------------- by hand


def by_hand(net: nn.Sequential, x: Tensor, keys: list[str], at_test: AtTest) -> Tensor:
    """Compute convolution, norm, dropout and convolution of each image alone, from their definitions."""
    first, norm, drop, last = net
    out = []
    for image, key in zip(x, keys, strict=True):
        y = torch.conv2d(image[None], first.weight, first.bias)
        mean, var = norm.running_mean, norm.running_var
        if at_test.norm == "image":
            mean, var = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
        y = (y - mean[:, None, None]) / (var[:, None, None] + norm.eps).sqrt()
        y = y * norm.weight[:, None, None] + norm.bias[:, None, None]
        if at_test.dropout:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_from("noise", key))
                y = y * dropout(torch.ones(1, *y.shape[1:]), drop.p)
        out.append(torch.conv2d(y, last.weight, last.bias))
    return torch.cat(out)


@pytest.mark.parametrize("at_test", EVERY)
def test_at_test_is_batch_norm_and_dropout_by_hand(at_test: AtTest) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.3), nn.Conv2d(3, 2, 1)).double().train()
    saw_training(net)
    x, keys = torch.randn(4, 2, 9, 7, dtype=torch.float64), ["a", "b", "c", "d"]
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        with at_test.applied(net.modules(), keys):
            made = net(x)
        torch.testing.assert_close(made, by_hand(net, x, keys, at_test), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(module.training and "forward" not in vars(module) for module in net.modules())


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
def test_at_test_dropout_leaves_the_mean_and_drops_whole_channels_where_the_layer_does(kind: type[nn.Module]) -> None:
    x = torch.ones(400, 3, 4, 5)
    layer = kind(0.25)
    with AtTest("image", True).applied([layer], None):
        made = layer(x)
    assert made.unique().tolist() == [0, pytest.approx(1 / 0.75)]
    assert made.mean().item() == pytest.approx(1, abs=0.03)
    whole = (made == made[:, :, :1, :1]).flatten(2).all(2)
    assert bool(whole.all()) == (kind is nn.Dropout2d)


def test_at_test_dropout_of_everything_leaves_nothing() -> None:
    layer = nn.Dropout(1.0)
    with AtTest("image", True).applied([layer], None):
        assert torch.equal(layer(torch.ones(2, 3, 4, 4)), torch.zeros(2, 3, 4, 4))


def test_at_test_puts_a_replaced_forward_back() -> None:
    layer, x = nn.Identity(), torch.ones(1)
    with run_by([(layer, lambda x: x + 1)]):
        with run_by([(layer, lambda x: x + 2)]):
            assert layer(x) == 3
        assert layer(x) == 2
    assert layer(x) == 1
    assert "forward" not in vars(layer)


CASES = [("pix2pix", on) for on in (False, True)] + [(name, False) for name in ("cyclegan", "bicyclegan")]


@pytest.mark.parametrize("norm", ["image", "running"])
@pytest.mark.parametrize(("name", "on"), CASES)
def test_at_test_output_depends_on_no_neighbour_in_any_mode(name: str, on: bool, norm: Any) -> None:
    own = {"image_size": 32, "dropout": 0.5} if name == "pix2pix" else {}
    method = build_method(name, **{**SMALL[name], "norm": "batch", **own}).double()
    saw_training(method.networks)
    method.at_test = AtTest(norm, on)
    x = torch.rand(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    before, random = {n: t.clone() for n, t in method.networks.state_dict().items()}, torch.get_rng_state()
    for make in (method.image_from, *([partial(method.image_from, direction="BtoA")] if method.two_way else [])):
        together = make(x, keys=["a", "b", "c"])
        alone = [make(x[i : i + 1], keys=[key]) for i, key in enumerate("abc")]
        torch.testing.assert_close(torch.cat(alone), together, rtol=1e-10, atol=1e-12)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(t, before[n]) for n, t in method.networks.state_dict().items())


# ---------------------------------------------------------------- the default


@pytest.mark.parametrize(
    ("batch", "workers", "micro_batch", "expected"),
    [
        (1, 1, 0, {1: 1}),
        (8, 1, 0, {8: 8}),
        (8, 2, 0, {4: 8}),
        (8, 8, 0, {1: 8}),
        (8, 1, 1, {1: 8}),
        (8, 2, 3, {1: 2, 3: 6}),
        (5, 2, 0, {2: 2, 3: 3}),
        (6, 2, 50, {3: 6}),
    ],
)
def test_norm_batches_are_the_parts_that_share_a_normalisation(
    batch: int, workers: int, micro_batch: int, expected: NormBatches
) -> None:
    values = {"training.batch": batch, "training.micro_batch": micro_batch}
    config = TrainConfig.of("pix2pix", "reference", values)
    assert norm_batches_of_a_batch(config, workers) == expected
    assert norm_batches_of_a_run(config, 30 * batch, workers) == {n: 30 * count for n, count in expected.items()}


@pytest.mark.parametrize(
    ("norm_batches", "norm"),
    [({1: 36}, "image"), ({4: 36}, "running"), ({1: 18, 6: 18}, "image"), ({1: 17, 6: 19}, "running")],
)
def test_checkpoint_is_used_as_most_of_its_images_were_normalised(
    norm_batches: NormBatches, norm: str, paired: str, tmp_path: Path
) -> None:
    trained = loaded(kept(paired, tmp_path, norm_batches))
    assert trained.norm_batches == norm_batches
    assert trained.method.at_test == AtTest(norm, True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "values", "expected"),
    [
        ("pix2pix", {"training__batch": 1}, AtTest("image", True)),
        ("pix2pix", {}, AtTest("running", True)),
        ("pix2pix", {"training__micro_batch": 1}, AtTest("image", True)),
        ("bicyclegan", {"hyper__norm": "batch"}, AtTest("running", False)),
        ("bicyclegan", {"hyper__norm": "batch", "training__batch": 1}, AtTest("image", False)),
    ],
)
def test_run_records_how_it_trained_and_is_used_so(
    method: str, values: dict[str, Any], expected: AtTest, paired: str, storage: str
) -> None:
    own = PIX2PIX if method == "pix2pix" else {}
    config = config_of(
        method, paired, storage, **{**own, "training__images": 12, "training__ema_halflife": 0, **values}
    )
    loop = loop_of(config)
    loop.train()
    trained = loaded(f"{storage}/run")
    assert trained.norm_batches == norm_batches_of_a_run(config, 12, 1)
    assert trained.method.at_test == loop.method.at_test == expected


def test_resume_with_other_parts_counts_both_and_may_ask_for_another_mode(paired: str, storage: str) -> None:
    """What went before the checkpoint was normalised in sixes, what came after alone."""
    first = config_of("pix2pix", paired, storage, **PIX2PIX, training__images=12)
    loop_of(first).train()
    RunFolder(f"{storage}/run").write("config.json", first.dumps().encode())
    again = config_of(
        "pix2pix", paired, storage, **PIX2PIX, training__images=30, training__micro_batch=1, at_test__test_dropout="off"
    )
    check_same_run(again, RunFolder(f"{storage}/run"))
    resumed = loop_of(again)
    assert resumed.state.norm_batches.so_far == {6: 12}
    resumed.train()
    trained = loaded(f"{storage}/run")
    assert trained.norm_batches == {1: 18, 6: 12}
    assert trained.method.at_test == resumed.method.at_test == AtTest("image", False)


def test_checkpoint_without_the_record_is_used_as_its_configuration_trained(paired: str, tmp_path: Path) -> None:
    """With the fewest workers that it allows; what an earlier program wrote has no record."""
    six = kept(paired, tmp_path / "six", launch__workers="2:6")
    assert loaded(six).norm_batches == {3: 36}
    one = kept(paired, tmp_path / "one", launch__workers="6")
    assert (loaded(one).norm_batches, loaded(one).method.at_test) == ({1: 36}, AtTest("image", True))


@pytest.mark.parametrize(
    ("test_time", "expected"), [("noise", AtTest("image", True)), ("fixed", AtTest("running", False))]
)
def test_pix2pix_test_time_of_older_checkpoints_is_read(
    test_time: str, expected: AtTest, paired: str, tmp_path: Path
) -> None:
    run = kept(paired, tmp_path, training__batch=1)
    folder = trained.find(run)
    config = as_version_1(folder.read_json("config.json"))
    config["hyper"]["test_time"] = test_time
    for name in ("test_norm", "test_dropout"):
        del config["output"][name]
    folder.write_json("config.json", config)
    folder.write_json("checksums.json", {**folder.read_json("checksums.json"), "config.json": sum_of(folder)})
    assert loaded(run).method.at_test == expected
    other = json.loads(TrainConfig.of("pix2pix_noise", "demo").dumps())
    other["hyper"]["test_time"] = test_time
    with pytest.raises(ConfigError, match=r"hyper\.test_time: found an unknown key"):
        TrainConfig.loads(json.dumps(other), "x")


def sum_of(folder: RunFolder) -> str:
    return checkpoint.sha256(folder.read("config.json"))


# ---------------------------------------------------------------- translate, evaluate, train


def as_at_test(options: AtTestOptions) -> AtTest:
    norm: Any = options.test_norm
    return AtTest(norm, options.test_dropout == "on")


ASKED = [AtTestOptions(norm, on) for norm in ("image", "running") for on in ("on", "off")]  # type: ignore[arg-type]


def test_translate_makes_images_as_asked_whatever_the_batch(paired: str, tmp_path: Path) -> None:
    """Every choice differs from the others, is what the method makes so, and says so."""
    run = kept(paired, tmp_path, {6: 36})
    for i in range(9):
        save(tmp_path / "in" / f"{i}.png", noise(32, 32, 3, seed=i))
    made = {}
    for n, asked in enumerate([AUTO, *ASKED]):
        by_batch = []
        for batch in (2, 32):
            out = tmp_path / f"out-{n}-{batch}"
            outcome = go(run, tmp_path / "in", out, batch=batch, at_test=asked)
            by_batch.append(files(out))
        assert by_batch[0] == by_batch[1]
        made[asked] = by_batch[0], outcome.made_by
    assert made[AUTO] == made[AtTestOptions("running", "on")]
    assert made[AUTO][1] == "batch norm by running statistics, dropout on"
    assert len({outputs["3.png"] for outputs, _ in made.values()}) == 4
    x = torch.from_numpy(noise(32, 32, 3, seed=3) / 127.5 - 1).permute(2, 0, 1)[None].float()
    for asked in ASKED:
        trained = loaded(run)
        trained.method.at_test = as_at_test(asked)
        expected = (trained.method.image_from(x, keys=["3"])[0] + 1) * 127.5
        found = pixels(made[asked][0]["3.png"]).astype(float)
        assert np.abs(found - expected.permute(1, 2, 0).numpy()).max() < 1.01


def l1_by_hand(method: Method[Any], data: str) -> float:
    """Mean over images of |G(a) - b| in [0, 1], an image at a time."""
    found = []
    for batch in in_order(DataSet(data), "test", 32, most=6, size=1):
        placed = batch.to(CPU)
        made = method.image_from(placed["a"], keys=placed.keys)
        found.append(((made - placed["b"]).double().abs() / 2).mean().item())
    return float(np.mean(found))


def test_evaluate_measures_as_asked_and_says_so(
    paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = kept(paired, tmp_path, {6: 36})
    found = {}
    for n, asked in enumerate([AUTO, *ASKED]):
        out = tmp_path / f"{n}.json"
        flags = ["--test-norm", asked.test_norm, "--test-dropout", asked.test_dropout]
        monkeypatch.setattr(
            sys, "argv", ["evaluate.py", run, "--data", paired, "--most", "6", "--out", str(out), *flags]
        )
        assert evaluate_pipeline.run() == 0
        said = json.loads(out.read_text())
        found[asked] = said["metrics"]["l1"]["value"], said["test_norm"], said["test_dropout"]
        words = {"image": "each image's own statistics", "running": "running statistics"}[said["test_norm"]]
        assert f"made with batch norm by {words}, dropout {said['test_dropout']}\n" in capsys.readouterr().out
    assert found[AUTO] == found[AtTestOptions("running", "on")]
    assert len({value for value, *_ in found.values()}) == 4
    for asked in ASKED:
        method = loaded(run).method
        method.at_test = as_at_test(asked)
        value, *said = found[asked]
        assert said == [asked.test_norm, asked.test_dropout]
        assert value == pytest.approx(l1_by_hand(method, paired), rel=1e-5)


def test_loop_draws_evaluates_and_judges_as_asked(
    paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """And translate.py and evaluate.py go by what the run was given."""
    values, small = {}, {**PIX2PIX, "training__images": 12, "monitoring__evaluate_samples": 8}
    preview = Pix2Pix.preview
    for norm, on in (("auto", "auto"), ("running", "on"), ("image", "off")):
        storage = str(tmp_path / f"{norm}-{on}")
        said.clear()
        asked: dict[str, Any] = {"at_test__test_norm": norm, "at_test__test_dropout": on}
        asked["monitoring__grid_every"] = 0 if norm == "image" else 6
        config = config_of("pix2pix", paired, storage, **small, **asked)
        loop, drawn = loop_of(config), []
        monkeypatch.setattr(
            Pix2Pix, "preview", lambda self, batch, to=drawn: to.append(self.at_test) or preview(self, batch)
        )
        loop.train()
        trained = loaded(f"{storage}/run")
        expected = AtTest("image", False) if norm == "image" else AtTest("running", True)
        assert trained.method.at_test == loop.method.at_test == expected
        assert drawn == [expected] * (1 if norm == "image" else 3), "at the end; also before and after the first update"
        own = evaluate(trained.method, DataSet(paired), "val", image_size=32, most=8)
        assert loop.state.best.found is not None
        assert loop.state.evaluations.metrics == pytest.approx(own, rel=1e-6)
        assert loop.state.best.found["value"] == pytest.approx(own["l1"], rel=1e-6)
        described = RunFolder(f"{storage}/run").read_json("last_evaluation.json")
        assert [d["test_norm"] for d in described.values()] == [expected.norm]
        assert any(line.startswith("grids and evaluations: batch norm by ") for line in said)
        values[norm] = own["l1"]
    assert values["auto"] == values["running"] != values["image"]


# ---------------------------------------------------------------- what has no effect is refused

NORM = r"--test-norm: found (image|running); expected nothing: the networks that make images have no batch norm"
DROPOUT = r"--test-dropout: found on; expected nothing: the networks that make images have no dropout"
WITHOUT = [
    ("pix2pix", {"hyper__norm": "instance"}, AtTestOptions(test_norm="image"), NORM),
    ("pix2pix", {"hyper__dropout": 0.0}, AtTestOptions(test_dropout="on"), DROPOUT),
    ("bicyclegan", {}, AtTestOptions(test_norm="running"), NORM),
    ("bicyclegan", {}, AtTestOptions(test_dropout="on"), DROPOUT),
]


@pytest.mark.parametrize(("method", "values", "asked", "said"), WITHOUT)
def test_at_test_options_without_effect_are_refused(
    method: str, values: dict[str, Any], asked: AtTestOptions, said: str, paired: str, tmp_path: Path
) -> None:
    """By training, translating and measuring, before anything is done; and what the message advises works."""
    run = kept(paired, tmp_path, None, method, **values)
    save(tmp_path / "in" / "a.png", noise(32, 32, 3))
    output = {f"at_test__{name}": value for name, value in vars(asked).items()}
    measure: Callable[[AtTestOptions], Any] = lambda options: evaluating.EvaluationJob(  # noqa: E731
        run, paired, "test", EvaluationConfig(), at_test=options
    ).suite(loaded(run))
    with pytest.raises(ConfigError, match=said):
        kept(paired, tmp_path / "other", None, method, **{**values, **output})
    with pytest.raises(ConfigError, match=said):
        go(run, tmp_path / "in", tmp_path / "out", at_test=asked)
    with pytest.raises(ConfigError, match=said):
        measure(asked)
    measure(AUTO)
    assert go(run, tmp_path / "in", tmp_path / "out", at_test=AUTO).written == 1
