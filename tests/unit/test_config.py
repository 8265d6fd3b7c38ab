"""Configurations: strict, checked, saved and read back; flags and their help.

pytest tests/unit/test_config.py
"""

from __future__ import annotations

import json

import pytest

from i2i_core.config import TrainConfig
from i2i_core.errors import ConfigError
from i2i_core.methods import METHODS
from i2i_core.settings import differences, field_docs
from i2i_core.training.config import TrainingConfig
from i2i_core.training.schedule import lr_factor

PRESETS = [(method, preset) for method, entry in METHODS.items() for preset in entry.presets]


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_a_preset_survives_saving_and_reading(method: str, preset: str) -> None:
    config = TrainConfig.of(method, preset)
    assert TrainConfig.loads(config.dumps(), "test") == config


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_the_three_presets_and_each_says_how_to_run_it(method: str) -> None:
    presets = METHODS[method].presets
    assert {"paper", "reference", "demo"} <= set(presets)
    for preset in presets.values():
        assert "ommand" in preset.doc
        assert "Data" in preset.doc or "glyphs" in preset.doc


@pytest.mark.parametrize("method", METHODS)
def test_every_flag_has_a_help_text(method: str) -> None:
    config = TrainConfig.of(method, "demo")
    for section in (config.hyper, config.data, config.training, config.output, config.launch):
        fields = {name for name, f in type(section).__dataclass_fields__.items() if not f.metadata.get("derived")}
        assert fields <= set(field_docs(type(section))), type(section)


@pytest.mark.parametrize(
    ("method", "key", "value", "said"),
    [
        ("stargan", "hyper.lambda_rec", -1.0, "--lambda-rec: found -1.0; expected a number >= 0"),
        ("stargan", "hyper.n_critic", 0, "--n-critic"),
        ("stargan", "hyper.g_lr", 0.0, "--g-lr"),
        ("stargan", "hyper.lambda_rec", float("nan"), "--lambda-rec"),
        ("pix2pix", "hyper.image_size", 100, "--image-size"),
        ("pix2pix", "hyper.dropout", 1.5, "--dropout"),
        ("pix2pix", "hyper.lambda_l2", 3.0, "lambda_l1"),
        ("pix2pix", "training.batch", 0, "--batch"),
        ("pix2pix", "training.batch", "16", "training.batch"),
        ("pix2pix", "training.lr_decay_from", 2.0, "--lr-decay-from"),
        ("pix2pix", "launch.workers", "4:2", "--workers"),
        ("pix2pix", "launch.workers", "many", "--workers"),
        ("pix2pix", "trainig.batch", 1, "training"),
    ],
)
def test_a_wrong_value_is_refused_by_its_flag(method: str, key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.of(method, "demo", {key: value})
    assert said in str(caught.value)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="stargan"):
        TrainConfig.of("stargna", "demo")
    with pytest.raises(ConfigError, match="reference"):
        TrainConfig.of("stargan", "refrence")


def test_a_saved_configuration_of_another_version_or_with_an_unknown_key_is_refused() -> None:
    values = json.loads(TrainConfig.of("stargan", "demo").dumps())
    with pytest.raises(ConfigError, match="version"):
        TrainConfig.loads(json.dumps({**values, "version": 99}), "x.json")
    with pytest.raises(ConfigError, match="unknown key"):
        TrainConfig.loads(json.dumps({**values, "data": {"uri": "a", "shuffel": 3}}), "x.json")
    with pytest.raises(ConfigError, match="not JSON"):
        TrainConfig.loads("{", "x.json")


def test_differences_name_what_must_match_and_pass_over_what_may_change() -> None:
    saved = TrainConfig.of("stargan", "demo")
    given = TrainConfig.of("stargan", "demo", {"hyper.n_critic": 7, "launch.workers": "3", "data.loaders": 5})
    assert differences(saved, given) == ["hyper.n_critic: saved 2, given 7"]


def test_the_name_of_a_run_changes_with_what_must_match_only() -> None:
    base = TrainConfig.of("stargan", "demo", {"data.uri": "/x/faces"})
    assert base.run_name.startswith("stargan-demo-faces-")
    assert base.run_name == TrainConfig.of("stargan", "demo", {"data.uri": "/x/faces", "launch.workers": "2"}).run_name
    assert base.run_name != TrainConfig.of("stargan", "demo", {"data.uri": "/x/faces", "training.seed": 1}).run_name


def test_learning_rates_by_hand() -> None:
    """100 images an epoch; the program of pix2pix: 1 - max(0, epoch + 1 - 2) / (2 + 1) over 2 + 2 epochs."""
    epochs = TrainingConfig(epochs=4.0, lr_schedule="epochs")
    assert [lr_factor(epochs, i, 100) for i in (0, 99, 100, 199, 200, 299, 300, 399)] == pytest.approx(
        [1, 1, 1, 1, 2 / 3, 2 / 3, 1 / 3, 1 / 3]
    )
    linear = TrainingConfig(images=1000, lr_schedule="linear", lr_decay_from=0.5)
    assert [lr_factor(linear, i, 100) for i in (0, 500, 750, 1000)] == pytest.approx([1, 1, 0.5, 0])
    hardly = TrainingConfig(images=1000, lr_schedule="linear", lr_final=0.999)
    assert lr_factor(hardly, 1000, 100) == pytest.approx(0.999)
    assert lr_factor(TrainingConfig(images=10), 10, 100) == 1
    steps = TrainingConfig(images=1000, lr_schedule="steps", lr_step=300, lr_step_factor=0.5)
    assert [lr_factor(steps, i, 100) for i in (0, 299, 300, 599, 600, 999)] == [1, 1, 0.5, 0.5, 0.25, 0.125]
