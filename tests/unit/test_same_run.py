"""What is said of a run that cannot be resumed as asked, and that what is advised works.

pytest tests/unit/test_same_run.py
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from i2i_core.checkpoints import checkpoint
from i2i_core.checkpoints.checkpoint import Snapshot
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.methods import build_from
from i2i_core.runs.folder import RunFolder
from i2i_core.settings import flags_of_saved
from i2i_core.training.preparing import check_same_run

from ..support.runs import age, config_of


def begun(config: TrainConfig, has_checkpoint: bool = True) -> RunFolder:
    """The folder of a run that has begun, with a checkpoint or before its first."""
    run = RunFolder.of(config)
    run.write(run.CONFIG, config.dumps().encode())
    if has_checkpoint:
        tensors, aliases = checkpoint.named_tensors(build_from(config.method, config.hyper).networks, None)
        checkpoint.write(run, Snapshot(12, config, tensors, aliases, {}, {}))
    return run


def advised(fix: str) -> dict[str, Any]:
    """The values of the flags that a message gives for another run."""
    words = shlex.split(fix.split("from its networks: ")[1].split(" --name ANOTHER.")[0])
    at, parts = words.index("--init-from"), words[words.index("--init-parts") + 1 :] if "--init-parts" in words else []
    return {"training__init_from": words[at + 1], "training__init_parts": tuple(parts), "launch__name": "ANOTHER"}


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "batch": ({"training__batch": 12}, "training.batch: saved 6, now 12"),
    "rate": ({"hyper__g_lr": 0.5}, "hyper.g_lr: saved 0.0005, now 0.5"),
    "seed": ({"training__seed": 3}, "training.seed: saved 0, now 3"),
    "some networks": ({"hyper__d_base": 6}, "hyper.d_base: saved 4, now 6"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_check_same_run_advises_to_begin_from_the_networks_as_far_as_they_fit(
    change: str, labelled: str, tmp_path: Path
) -> None:
    values, line = CHANGES[change]
    storage = str(tmp_path / "a b")  # a shell would split it
    run = begun(config_of("stargan", labelled, storage))
    with pytest.raises(ConfigError) as caught:
        check_same_run(config_of("stargan", labelled, storage, **values), run)
    assert caught.value.found.splitlines()[1:] == [f"    {line}"], "what differs, and no more"
    given = advised(caught.value.fix)
    assert given["training__init_parts"] == (("fits",) if change == "some networks" else ())
    other = config_of("stargan", labelled, storage, **values, **given)  # refused there if the networks did not fit
    check_same_run(other, RunFolder.of(other))


def test_check_same_run_advises_the_layers_that_fit_where_the_data_have_other_channels(
    paired: str, storage: str
) -> None:
    """What nobody gave, but the data have, is said to be theirs."""
    config = config_of("pix2pix", paired, storage)
    grey = replace(config, hyper=replace(config.hyper, in_channels=1))
    run = begun(grey)
    with pytest.raises(ConfigError) as caught:
        check_same_run(config, run)
    assert "hyper.in_channels: saved 1, now 3 (of what the run reads)" in caught.value.found
    given = advised(caught.value.fix)
    assert given["training__init_parts"] == ("fits",)
    config_of("pix2pix", paired, storage, **given)


def test_check_same_run_advises_no_networks_that_would_be_refused(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage)
    for has_checkpoint, values in ((False, {"training__batch": 12}), (True, {"hyper__g_base": 6, "hyper__d_base": 6})):
        run = begun(config, has_checkpoint)
        with pytest.raises(ConfigError) as caught:
            check_same_run(config_of("stargan", labelled, storage, **values), run)
        assert "--init-from" not in caught.value.fix
        assert "another --name" in caught.value.fix
    age(run, 2)
    with pytest.raises(CheckpointError, match="order 1") as refused:
        check_same_run(config_of("stargan", labelled, storage, hyper__g_base=6, hyper__d_base=6), run)
    assert "--init-from" not in refused.value.fix
    assert "another --name" in refused.value.fix


def test_check_same_run_names_no_lanes_that_follow_from_the_batch(labelled: str, storage: str) -> None:
    """Releases with the first order of samples filled them in: a batch that changed had changed lanes, too."""
    config = config_of("stargan", labelled, storage)
    run = begun(config)
    age(run, 2)
    run.write_json(run.STATUS, {"state": "finished", "images": 96, "metrics": {}})
    for name in run.whole_checkpoints():
        run.remove_checkpoint(name)
    with pytest.raises(ConfigError) as caught:
        check_same_run(config_of("stargan", labelled, storage, training__batch=12), run)
    assert caught.value.found.splitlines()[1:] == ["    training.batch: saved 6, now 12"]
    assert "Give --batch 6 to go on with that run." in caught.value.fix
    with pytest.raises(ConfigError, match=r"data\.lanes: saved 6, now 12"):
        check_same_run(config_of("stargan", labelled, storage, data__lanes=12), run)


def test_flags_of_saved_are_read_as_the_values_that_were_saved(labelled: str, storage: str) -> None:
    """A number, a switch, a size, words with a space; what follows from the data is no flag."""
    saved = config_of("stargan", labelled, storage, training__batch=12, data__flip=True, hyper__attributes=("bold",))
    given = config_of("stargan", labelled, storage, hyper__image_size=32)
    flags = flags_of_saved(saved, replace(given, hyper=replace(given.hyper, c_dim=1)))
    said = " ".join(flags)
    assert "--batch 12" in said
    assert "--flip" in said.split()
    assert "--no-flip" in flags_of_saved(given, saved)
    assert "--image-size 16" in said
    assert "--attributes bold" in said
    assert "c-dim" not in said
