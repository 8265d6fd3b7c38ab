"""What a checkpoint keeps of a run's state, and that states of version 1 are read.

pytest tests/integration/test_state.py
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from i2i_core.checkpoints import checkpoint
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError
from i2i_core.runs.folder import RunFolder, name_at
from i2i_core.training.loop import Loop
from i2i_core.training.state import VERSION

from ..support.runs import assert_equal, config_of, loop_of, prompt, put_state, state_of

PARTS = (
    *("optimisers", "histories", "progress", "best", "evaluations", "bad_samples"),
    *("diagnosis", "seen", "norm_batches", "due", "log"),
)
AT = 24


def config_in(storage: str, unpaired: str) -> TrainConfig:
    """CycleGAN, which has histories; logged, drawn and evaluated on the way."""
    over = {"monitoring__log_every": 36, "monitoring__grid_every": 18, "monitoring__evaluate_every": 24}
    return config_of(
        "cyclegan",
        unpaired,
        storage,
        training__images=48,
        monitoring__checkpoint_every=12,
        monitoring__keep_last=9,
        **over,
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


def version_1(state: dict[str, Any]) -> dict[str, Any]:
    """The same state as a program wrote it before there were parts."""
    return {
        "optimisers": state["optimisers"],
        "pools": state["histories"],
        "images": state["progress"]["images"],
        "moves": state["progress"]["moves"],
        "best": state["best"],
        "seen": state["seen"],
        "done": state["due"],
        "bad": state["bad_samples"],
        "evaluations": state["evaluations"],
        "diagnosis": state["diagnosis"],
        "log": state["log"],
    }


def test_state_has_every_part_by_name(ended: Loop) -> None:
    saved = checkpoint.latest(ended.run)
    assert saved
    assert set(saved.state()) == {"version", *PARTS}
    assert saved.state()["version"] == VERSION


def test_state_of_version_1_goes_on_as_the_run_left_alone(
    ended: Loop, cut: RunFolder, storage: str, unpaired: str
) -> None:
    folder = cut.checkpoint(name_at(AT))
    put_state(folder, version_1(checkpoint.read(folder).state()))
    resumed = loop_of(config_in(storage, unpaired))
    assert resumed.progress.images == AT
    assert resumed.state.log.spread is not None, "a log that was on its way"
    resumed.train()
    assert_equal(state_of(ended), state_of(resumed))


def test_state_of_the_first_programs_begins_what_they_did_not_keep(
    ended: Loop, cut: RunFolder, storage: str, unpaired: str
) -> None:
    folder = cut.checkpoint(name_at(AT))
    state = version_1(checkpoint.read(folder).state())
    put_state(folder, {name: state[name] for name in ("optimisers", "images", "moves")})
    resumed = loop_of(config_in(storage, unpaired))
    assert resumed.progress.moves == {"generators": 4, "discriminators": 4}
    assert resumed.state.due.done == AT
    resumed.train()
    expected, found = state_of(ended), state_of(resumed)
    weights = [name for name in expected if name.startswith("optimisers.")]
    assert expected.keys() >= {*weights} <= found.keys()
    assert found["progress.images"] == expected["progress.images"] == 48


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
