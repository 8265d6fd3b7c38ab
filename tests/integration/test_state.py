"""What a checkpoint keeps of a run's state, and what becomes of runs that began with another order of samples.

pytest tests/integration/test_state.py
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from i2i_core.checkpoints import checkpoint
from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import CheckpointError
from i2i_core.evaluation.suite import evaluate
from i2i_core.runs.folder import RunFolder, name_at
from i2i_core.training.loop import Loop
from i2i_core.training.preparing import check_same_run
from i2i_core.training.state import VERSION

from ..support.runs import age, config_of, loop_of, prompt, put_state
from ..support.translating import files, go, noise, save

PARTS = (
    *("optimisers", "histories", "progress", "best", "evaluations", "bad_samples"),
    *("diagnosis", "seen", "norm_batches", "due", "log"),
)
AT = 24


def config_in(storage: str, unpaired: str, **values: Any) -> TrainConfig:
    """CycleGAN, which has histories; logged, drawn and evaluated on the way."""
    over = {"monitoring__log_every": 36, "monitoring__grid_every": 18, "monitoring__evaluate_every": 24}
    return config_of(
        "cyclegan",
        unpaired,
        storage,
        training__images=48,
        monitoring__checkpoint_every=12,
        monitoring__keep_last=9,
        **over | values,
    )


@pytest.fixture(scope="module")
def ended(unpaired: str, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A run that was left alone."""
    loop = prompt(loop_of(config_in(str(tmp_path_factory.mktemp("ended")), unpaired)))
    loop.train()
    return loop


@pytest.fixture
def cut(ended: Loop, storage: str) -> RunFolder:
    """The same run as it was in the middle."""
    shutil.copytree(Path(ended.run.root).parent, storage)
    run = RunFolder(f"{storage}/run")
    run.discard_after(AT)
    return run


def test_state_has_every_part_by_name(ended: Loop) -> None:
    saved = checkpoint.latest(ended.run)
    assert saved
    assert set(saved.state()) == {"version", *PARTS}
    assert saved.state()["version"] == VERSION


@pytest.mark.parametrize("version", [1, 2])
def test_check_order_refuses_a_run_of_another_order_by_one_message(
    version: int, cut: RunFolder, storage: str, unpaired: str
) -> None:
    """By the driver, which reads what the folder says, and by a worker, which reads a checkpoint."""
    age(cut, version)
    config = config_in(storage, unpaired)
    for begin in (lambda: check_same_run(config, cut), lambda: loop_of(config)):
        with pytest.raises(CheckpointError) as caught:
            begin()
        assert str(caught.value) == (
            f"{cut.url}: found a run whose samples come in order 1, that of another release; expected order 2, that of "
            "this release: the rest of the run would have some samples twice, others never.\n"
            "  Finish it with the release that it began with. Or begin another run from its networks: --init-from "
            f"{cut.url} --name ANOTHER. translate.py and evaluate.py take the run as it is."
        )
    assert cut.whole_checkpoints()[-1] == name_at(AT), "nothing was removed"


@pytest.mark.parametrize("version", [1, 2])
def test_check_order_lets_a_run_pass_that_has_finished_or_not_begun(
    version: int, cut: RunFolder, storage: str, unpaired: str
) -> None:
    """There is no sample left to come, or none has come yet."""
    age(cut, version)
    config = config_in(storage, unpaired)
    cut.write_json(cut.STATUS, {"state": "finished", "images": 48, "metrics": {}})
    check_same_run(config, cut)
    check_same_run(config.with_section("training", fast=("bf16",)), cut)
    with pytest.raises(CheckpointError, match="order 1"):
        check_same_run(config.with_section("training", images=96), cut)
    cut.remove(cut.STATUS)
    for name in cut.whole_checkpoints():
        cut.remove_checkpoint(name)
    check_same_run(config, cut)


@pytest.mark.parametrize("version", [1, 2])
def test_run_of_another_order_is_found_by_its_name(version: int, cut: RunFolder, storage: str, unpaired: str) -> None:
    """By the one that its program made: where the command named none, it finds the run, and refuses it."""
    age(cut, version)
    unnamed = config_in(storage, unpaired, launch__name="")
    before = unnamed.with_section("data", lanes=unnamed.training.batch, order=1)
    made = before.name_of_version_1 if version == 1 else before.run_name
    assert made != RunFolder.of(unnamed).url.rsplit("/", 1)[-1]
    shutil.move(cut.root, f"{storage}/{made}")
    again = config_in(storage, unpaired, launch__name="")
    assert RunFolder.of(again).url == f"{storage}/{made}"
    with pytest.raises(CheckpointError, match="order 1"):
        check_same_run(again, RunFolder.of(again))


@pytest.mark.parametrize("version", [1, 2])
def test_run_of_another_order_translates_is_measured_and_starts_another(
    version: int, ended: Loop, cut: RunFolder, storage: str, unpaired: str, tmp_path: Path
) -> None:
    age(cut, version)
    save(tmp_path / "in" / "one.png", noise(16, 16, 3))
    for run, out in ((cut.url, "old"), (ended.run.checkpoint(name_at(AT)).url, "today's")):
        go(run, tmp_path / "in", tmp_path / out)
    assert files(tmp_path / "old") == files(tmp_path / "today's")
    trained = [load_trained(at, torch.device("cpu")) for at in (cut.url, ended.run.checkpoint(name_at(AT)).url)]
    found = [evaluate(each.method, DataSet(unpaired), "test", image_size=16, most=8) for each in trained]
    assert found[0] == found[1]
    another = loop_of(config_in(storage, unpaired, launch__name="another", training__init_from=cut.url))
    networks = checkpoint.read(cut.checkpoint(name_at(AT))).networks()[0]
    begun = another.step.method.networks.state_dict()
    assert all(torch.equal(tensor, begun[name]) for name, tensor in networks.items())
    another.train()
    assert another.progress.images == 48


@pytest.mark.parametrize("name", PARTS)
def test_state_without_a_part_is_refused_by_its_name(name: str, cut: RunFolder, storage: str, unpaired: str) -> None:
    folder = cut.checkpoint(name_at(AT))
    put_state(folder, {key: part for key, part in checkpoint.read(folder).state().items() if key != name})
    with pytest.raises(CheckpointError) as caught:
        loop_of(config_in(storage, unpaired))
    assert caught.value.found == f"a state without {name}"
    assert caught.value.where == folder.at("state.pt")


def test_state_of_a_later_program_is_refused(cut: RunFolder, storage: str, unpaired: str) -> None:
    folder = cut.checkpoint(name_at(AT))
    put_state(folder, {**checkpoint.read(folder).state(), "version": VERSION + 1})
    with pytest.raises(CheckpointError, match=f"found a state of version {VERSION + 1}"):
        loop_of(config_in(storage, unpaired))


@pytest.mark.parametrize("other", ["text", 7.5, {"x": ["y"]}, [[1], "z"]], ids=str)
@pytest.mark.parametrize("name", PARTS)
def test_state_with_a_part_of_another_form_is_refused_by_its_name(
    name: str, other: Any, cut: RunFolder, storage: str, unpaired: str
) -> None:
    """What a part takes for its own, such as counts by name, is no error."""
    folder = cut.checkpoint(name_at(AT))
    put_state(folder, {**checkpoint.read(folder).state(), name: other})
    if name in ("best", "norm_batches") and isinstance(other, dict):
        return
    with pytest.raises(CheckpointError, match=rf"found a part {name} that cannot be read \(") as caught:
        loop_of(config_in(storage, unpaired))
    assert caught.value.where == folder.at("state.pt")
