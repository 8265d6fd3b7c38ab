"""Configurations: strict, checked, saved and read back; flags and their help.

pytest tests/unit/test_config.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import docstring_parser
import pytest

from i2i_core.config.evaluation import AtTestOptions, EvaluationConfig
from i2i_core.config.run import VERSION, TrainConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError
from i2i_core.methods import METHODS
from i2i_core.settings import differences, setting
from i2i_core.training.schedule import lr_factor
from pipelines import train, tune

PRESETS = [(method, preset) for method, entry in METHODS.items() for preset in entry.presets]


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_train_config_of_a_preset_survives_saving_and_reading(method: str, preset: str) -> None:
    config = TrainConfig.of(method, preset)
    assert TrainConfig.loads(config.dumps(), "test") == config


@pytest.mark.parametrize("method", METHODS)
def test_presets_are_three_at_least_and_each_says_how_to_run_it(method: str) -> None:
    presets = METHODS[method].presets
    assert {"paper", "reference", "demo"} <= set(presets)
    for preset in presets.values():
        assert "ommand" in preset.doc
        assert "Data" in preset.doc or "built-in" in preset.doc


@pytest.mark.parametrize("method", METHODS)
def test_sections_have_a_help_text_for_every_flag(method: str) -> None:
    """As tyro finds it: the text below a field, in its class or in one that it is based on."""
    config = TrainConfig.of(method, "demo")
    for section in filter(is_dataclass, (getattr(config, f.name) for f in fields(config))):
        texts = [docstring_parser.parse_from_object(kind) for kind in type(section).__mro__[:-1]]
        described = {each.arg_name for text in texts for each in text.params if each.description}
        assert {f.name for f in fields(section) if not f.metadata["derived"]} <= described, type(section)


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
def test_train_config_refuses_a_wrong_value_by_its_flag(method: str, key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.of(method, "demo", {key: value})
    assert said in str(caught.value)


def test_train_config_answers_unknown_names_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="stargan"):
        TrainConfig.of("stargna", "demo")
    with pytest.raises(ConfigError, match="reference"):
        TrainConfig.of("stargan", "refrence")


def test_loads_refuses_another_version_and_unknown_keys() -> None:
    values = json.loads(TrainConfig.of("stargan", "demo").dumps())
    with pytest.raises(ConfigError, match="version"):
        TrainConfig.loads(json.dumps({**values, "version": 99}), "x.json")
    with pytest.raises(ConfigError, match="unknown key"):
        TrainConfig.loads(json.dumps({**values, "data": {"uri": "a", "shuffel": 3}}), "x.json")
    with pytest.raises(ConfigError, match="not JSON"):
        TrainConfig.loads("{", "x.json")


VERSION_1 = """{
 "method": "pix2pix", "preset": "demo", "hyper": {"lambda_l1": 50.0, "image_size": 32},
 "data": {"uri": "/x/maps"}, "training": {"batch": 4, "images": 96},
 "output": {
  "metrics": ["fid"], "classifier": "", "lpips_network": "vgg", "kid_subsets": 7, "test_norm": "running",
  "test_dropout": "off", "log_every": 12, "tracker": ["tensorboard", "wandb"], "grid_every": 24, "evaluate_every": 48,
  "evaluate_split": "test", "best_metric": "ssim", "checkpoint_every": 36, "keep_last": 3
 },
 "launch": {"workers": "2", "storage": "/x/runs"}, "version": 1
}"""


def test_loads_reads_version_1(tmp_path: Path) -> None:
    """As a saved `config.json`, and as a file for --config, whole or in part."""
    (tmp_path / "config.json").write_text(VERSION_1)
    saved = TrainConfig.loads(VERSION_1, "config.json")
    made = train.configure(["--config", str(tmp_path / "config.json")]).run
    in_part = {"method": "pix2pix", "preset": "demo", "output": json.loads(VERSION_1)["output"]}
    for config in (saved, made, train.configure(written(tmp_path, in_part)).run):
        assert (config.monitoring.log_every, config.monitoring.keep_last, config.monitoring.best_metric) == (
            12,
            3,
            "ssim",
        )
        assert (config.monitoring.tracker, config.monitoring.evaluate_split) == (("tensorboard", "wandb"), "test")
        assert config.evaluation == EvaluationConfig(metrics=("fid",), lpips_network="vgg", kid_subsets=7)
        assert config.at_test == AtTestOptions("running", "off")
    assert (saved.hyper.lambda_l1, saved.training.batch, saved.launch.workers) == (50.0, 4, "2")
    again = json.loads(saved.dumps())
    assert again["version"] == VERSION
    assert "output" not in again
    assert TrainConfig.loads(saved.dumps(), "config.json") == saved


def test_loads_reads_version_1_as_strictly(tmp_path: Path) -> None:
    values = json.loads(VERSION_1)
    for output, said in (({"grid_evry": 3}, r"grid_evry: found an unknown key"), (3, "output: found 3")):
        with pytest.raises(ConfigError, match=said):
            TrainConfig.loads(json.dumps({**values, "output": output}), "config.json")
    with pytest.raises(ConfigError, match="output: found an unknown key"):
        train.configure(written(tmp_path, {**values, "version": 2}))
    both = {**STARGAN, "output": {"log_every": 3}, "monitoring": {"grid_every": 4}}
    with pytest.raises(ConfigError, match="sections of two versions: output and monitoring"):
        train.configure(written(tmp_path, both))


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_length_that_is_given_replaces_that_of_the_preset(method: str, preset: str) -> None:
    passes = TrainConfig.of(method, preset, {"training.epochs": 3.0}).training
    assert (passes.images, passes.epochs) == (0, 3.0)
    assert passes.length(100) == 300
    images = TrainConfig.of(method, preset, {"training.images": 70}).training
    assert (images.images, images.epochs) == (70, 0.0)
    assert images.length(100) == 70
    own = TrainConfig.of(method, preset).training
    assert bool(own.images) != bool(own.epochs), "a preset has one length"


def test_length_is_one_and_finite() -> None:
    for both in ({"training.images": 9, "training.epochs": 2.0}, {"training.images": 9, "training.epochs": 1.0}):
        with pytest.raises(ConfigError, match=r"--images: found 9, beside --epochs \d; expected one length"):
            TrainConfig.of("stargan", "demo", both)
    for none in ({"training.images": 0}, {"training.epochs": 0.0}, {"training.images": 0, "training.epochs": 0.0}):
        with pytest.raises(ConfigError, match="expected a length"):
            TrainConfig.of("stargan", "demo", none)
    with pytest.raises(ConfigError, match="--epochs: found inf"):
        TrainConfig.of("stargan", "demo", {"training.epochs": float("inf")})


LENGTHS: dict[str, tuple[list[str], tuple[int, float]]] = {
    "none: the preset's": ([], (11_000, 0.0)),
    "passes": (["--epochs", "3"], (0, 3.0)),
    "passes, with a sign": (["--epochs=3"], (0, 3.0)),
    "images": (["--images", "70"], (70, 0.0)),
    "the preset's again": (["--images", "11000"], (11_000, 0.0)),
    "passes, and no images": (["--images", "0", "--epochs", "3"], (0, 3.0)),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_length_on_the_command_line_wins(case: str) -> None:
    arguments, expected = LENGTHS[case]
    flags = ["--method", "stargan", "--preset", "demo", *arguments]
    for configured in (train.configure(flags).run, tune.configure(flags).run):
        assert (configured.training.images, configured.training.epochs) == expected


@pytest.mark.parametrize("arguments", [["--images", "11000", "--epochs", "3"], ["--images", "0"], ["--epochs", "0"]])
def test_length_on_the_command_line_is_one(arguments: list[str]) -> None:
    """Also where one of the two is what the preset has."""
    for configure in (train.configure, tune.configure):
        with pytest.raises(ConfigError, match="--images: found"):
            configure(["--method", "stargan", "--preset", "demo", *arguments])


def test_name_on_the_command_line_or_in_a_file_is_one_folder(tmp_path: Path) -> None:
    values = {"method": "stargan", "preset": "demo", "version": 2, "launch": {"name": "group/faces"}}
    for configure in (train.configure, tune.configure):
        with pytest.raises(ConfigError, match=r"--name: found 'group/faces', a path.*\n.*--storage runs/group --name"):
            configure(["--method", "stargan", "--preset", "demo", "--name", "group/faces"])
    with pytest.raises(ConfigError, match="--name: found 'group/faces', a path"):
        train.configure(written(tmp_path, values))
    assert train.configure([*written(tmp_path, values), "--name", "faces"]).run.run_name == "faces"


def written(folder: Path, values: object) -> list[str]:
    """The flags that name a file with these values."""
    (folder / "some.json").write_text(json.dumps(values))
    return ["--config", str(folder / "some.json")]


def test_length_of_a_file_beats_the_presets_and_flags_beat_the_files(tmp_path: Path) -> None:
    file = written(tmp_path, {"method": "stargan", "preset": "demo", "training": {"epochs": 5}})
    assert train.configure(file).run.training.length(100) == 500
    assert train.configure([*file, "--images", "70"]).run.training.length(100) == 70
    both = written(tmp_path, {"method": "stargan", "preset": "demo", "training": {"epochs": 5, "images": 70}})
    with pytest.raises(ConfigError, match=r"some\.json: --images: found 70, beside --epochs 5") as caught:
        train.configure(both)
    assert "Give --images or --epochs" in str(caught.value)
    assert train.configure([*both, "--epochs", "5"]).run.training.length(100) == 500, "as advised"
    assert train.configure([*both, "--images", "70"]).run.training.length(100) == 70, "as advised"


@pytest.mark.parametrize("epochs", [1.0, 7.0])
def test_length_of_an_earlier_versions_run_is_its_images(epochs: float, tmp_path: Path) -> None:
    """They held epochs beside: 1, which nobody had given, or what was given and did not count."""
    saved = json.loads(TrainConfig.of("stargan", "demo").dumps())
    saved["training"]["epochs"] = epochs
    assert TrainConfig.loads(json.dumps(saved), "config.json") == TrainConfig.of("stargan", "demo")
    file = written(tmp_path, saved)
    if epochs == 1.0:
        assert train.configure(file).run == TrainConfig.of("stargan", "demo")
    else:
        with pytest.raises(ConfigError, match="beside --epochs 7"):
            train.configure(file)


def test_filled_takes_what_the_file_lacks_from_its_preset(tmp_path: Path) -> None:
    """Flags over file over preset over defaults, each seen where the next one says something else."""
    file = written(tmp_path, {"method": "stargan", "preset": "demo", "hyper": {"lambda_rec": 7.0, "n_critic": 3}})
    made = train.configure([*file, "--n-critic", "4"]).run
    preset = METHODS["stargan"].presets["demo"].values
    assert made.preset == "demo"
    assert (made.hyper.n_critic, made.hyper.lambda_rec) == (4, 7.0)
    assert made.hyper.image_size == preset["hyper.image_size"] != METHODS["stargan"].config().image_size
    assert made.training.images == preset["training.images"] != TrainingConfig().images
    assert made.training.clip_grad == TrainingConfig().clip_grad
    assert "training.clip_grad" not in preset
    values = {"hyper.lambda_rec": 7.0, "hyper.n_critic": 4}
    assert made == TrainConfig.of("stargan", "demo", values), "what has this preset's name is this preset, but for that"


def test_filled_takes_names_that_the_file_lacks_from_the_command_line(tmp_path: Path) -> None:
    file = written(tmp_path, {"training": {"batch": 5}})
    made = train.configure([*file, "--method", "cyclegan", "--preset", "demo"]).run
    assert made == TrainConfig.of("cyclegan", "demo", {"training.batch": 5})


STARGAN = {"method": "stargan", "preset": "demo"}
FILES: dict[str, tuple[object, list[str], str, str]] = {
    "no method": ({"preset": "demo"}, [], "no 'method'", "give --method NAME"),
    "no preset": ({"method": "stargan"}, [], "no 'preset'", "give --preset NAME: paper"),
    "another method": (STARGAN, ["--method", "unit"], "of method 'stargan'", "Leave --method out"),
    "another preset": (STARGAN, ["--preset", "paper"], "of preset 'demo'", "Leave --preset out"),
    "an unknown method": ({**STARGAN, "method": "stargna"}, [], "some.json: method: found 'stargna'", "stargan?"),
    "a method that is a list": ({**STARGAN, "method": ["unit"]}, [], "method: found ['unit']", "Did you mean unit?"),
    "an unknown preset": ({**STARGAN, "preset": "dmeo"}, [], "preset: found 'dmeo'", "Did you mean demo?"),
    "an unknown section": ({**STARGAN, "trainnig": {}}, [], "trainnig: found an unknown key", "Did you mean training?"),
    "an unknown field": ({**STARGAN, "data": {"shuffel": 3}}, [], "data.shuffel: found an unknown key", "Known: "),
    "a section that is a number": ({**STARGAN, "data": 3}, [], "some.json: data: found 3", '"data": {"NAME": VALUE}'),
    "a wrong value": ({**STARGAN, "training": {"batch": 0}}, [], "some.json: --batch: found 0", "Give --batch"),
    "another version": ({**STARGAN, "version": 99}, [], "version 99", "that train.py wrote"),
    "a list": ([1], [], "found a list", "config.json"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_filled_refuses_a_file_that_cannot_be_used(case: str, tmp_path: Path) -> None:
    values, flags, found, fix = FILES[case]
    with pytest.raises(ConfigError) as caught:
        train.configure([*written(tmp_path, values), *flags])
    assert "some.json" in str(caught.value)
    assert found in str(caught.value)
    assert fix in caught.value.fix
    if case.startswith("no "):  # the advice works
        train.configure([*written(tmp_path, values), f"--{case[3:]}", "demo" if case == "no preset" else "stargan"])


def test_parsed_refuses_a_name_that_comes_twice(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text('{"method": "unit", "preset": "demo", "training": {"batch": 1, "batch": 2}}')
    with pytest.raises(ConfigError, match="twice 'batch'"):
        train.configure(["--config", str(tmp_path / "some.json")])


YAML = """
# of a person
method: pix2pix
preset: demo
hyper: {lambda_l1: 50, lr: 2e-4}
training:
  batch: 4
  lr_final: .5
data: {uri: /x/maps, flip: false, also: []}
monitoring:
  tracker: [tensorboard, wandb]
at_test: {test_dropout: off}  # a string, as in JSON
launch: {workers: 2:8}
"""


@pytest.mark.parametrize("ending", ["yaml", "yml"])
def test_filled_reads_yaml_as_it_reads_json(ending: str, tmp_path: Path) -> None:
    """Strings that YAML 1.1 reads as something else are what stands there."""
    (tmp_path / f"some.{ending}").write_text(YAML)
    values = {
        "method": "pix2pix", "preset": "demo", "hyper": {"lambda_l1": 50, "lr": 2e-4},
        "training": {"batch": 4, "lr_final": 0.5}, "data": {"uri": "/x/maps", "flip": False, "also": []},
        "monitoring": {"tracker": ["tensorboard", "wandb"]}, "at_test": {"test_dropout": "off"},
        "launch": {"workers": "2:8"},
    }  # fmt: skip
    made = train.configure(["--config", str(tmp_path / f"some.{ending}")]).run
    assert made == train.configure(written(tmp_path, values)).run
    assert (made.hyper.lr, made.at_test.test_dropout, made.launch.worker_range) == (2e-4, "off", (2, 8))


def test_filled_reads_yaml_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text("{method: pix2pix, preset: demo, output: {test_norm: running, log_every: 7}}")
    made = train.configure(["--config", str(tmp_path / "some.yaml")]).run
    assert (made.at_test.test_norm, made.monitoring.log_every) == ("running", 7)


WRONG_YAML = {
    "a name twice": ("training: {batch: 1, batch: 2}", "twice 'batch'"),
    "an alias": ("training: &a {batch: 1}\ndata: *a", "an alias, *a"),
    "a tag": ("training: !!python/object/apply:os.getcwd []", "a tag, tag:yaml.org,2002:python/object/apply:os.getcwd"),
    "a merge": ("training: {<<: {batch: 1}}", "training.<<: found an unknown key"),
    "a name that is a number": ("training: {1: 2}", "1 as a name"),
    "an unknown field": ("training: {btach: 1}", "training.btach: found an unknown key"),
    "a string for a number": ("training: {batch: '1'}", "training.batch: found '1' (str)"),
    "octal": ("training: {seed: 010}", "training.seed: found 10.0 (float)"),
    "a list": ("- training", "found a list"),
    "nothing": ("", "found a NoneType"),
    "no YAML": ("training: [1", "text that is not YAML"),
    "two documents": ("training: {}\n---\ndata: {}", "another document"),
    "too deep": ("[" * 100_000, "text that is not YAML"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_YAML)
def test_filled_reads_yaml_as_strictly_as_json(case: str, tmp_path: Path) -> None:
    text, said = WRONG_YAML[case]
    (tmp_path / "some.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"some\.yaml") as caught:
        train.configure(["--config", str(tmp_path / "some.yaml"), "--method", "unit", "--preset", "demo"])
    assert said in str(caught.value)


def test_differences_name_values_that_must_match_and_no_others() -> None:
    saved = TrainConfig.of("stargan", "demo")
    given = TrainConfig.of("stargan", "demo", {"hyper.n_critic": 7, "launch.workers": "3", "data.loaders": 5})
    assert differences(saved, given) == ["hyper.n_critic: saved 2, now 7"]


def test_run_name_changes_only_with_values_that_must_match() -> None:
    base = TrainConfig.of("stargan", "demo", {"data.uri": "/x/faces"})
    assert base.run_name.startswith("stargan-demo-faces-")
    for key, value, same in (
        ("launch.workers", "2", True), ("monitoring.grid_every", 7, True), ("training.images", 7, True),
        ("training.seed", 1, False), ("hyper.g_base", 7, False), ("data.window", 7, False),
    ):  # fmt: skip
        made = TrainConfig.of("stargan", "demo", {"data.uri": "/x/faces", key: value})
        assert (made.run_name == base.run_name) == same, key


@dataclass(frozen=True)
class OneMore(TrainingConfig):
    new: float = setting(0.25)


@dataclass(frozen=True)
class OneSectionMore(TrainConfig):
    more: OneMore = field(default_factory=OneMore)


def test_run_name_stays_when_a_new_option_has_its_default() -> None:
    config = TrainConfig.of("stargan", "demo", {"data.uri": "/x/faces", "training.batch": 7, "hyper.lambda_rec": 5.0})
    parts = {f.name: getattr(config, f.name) for f in fields(config)}
    grown = OneMore(**vars(config.training))
    assert replace(config, training=grown).run_name == config.run_name
    assert OneSectionMore(**parts).run_name == config.run_name
    assert replace(config, training=replace(grown, new=0.5)).run_name != config.run_name
    assert OneSectionMore(**parts, more=OneMore(new=0.5)).run_name != config.run_name


def test_run_name_is_the_same_whatever_a_value_comes_from() -> None:
    """A preset's value and the same one as a flag are one, and so are a default and the default given."""
    at = ["--data", "/x/faces", "--method", "stargan", "--preset", "demo"]
    made = train.configure(at).run
    default, preset = TrainingConfig().clip_grad, made.training.ema_halflife
    again = train.configure([*at, "--clip-grad", str(default), "--ema-halflife", str(preset)]).run
    assert made.run_name == again.run_name


NAMES_OF_VERSION_1 = [
    "bicyclegan-demo-faces-9f23d842",
    "clr_gan-demo-faces-08c65afa",
    "cvae_gan-demo-faces-5adff024",
    "cyclegan-demo-faces-83dd4d31",
    "pix2pix-demo-faces-9c464929",
    "pix2pix_noise-demo-faces-2e4d52c0",
    "simgan-demo-faces-a51bf152",
    "stargan-demo-faces-4418621c",
    "unit-demo-faces-52c1629e",
]
"""As the last program of version 1 made them. A method that came later has none."""


@pytest.mark.parametrize("name", NAMES_OF_VERSION_1)
def test_name_of_version_1_is_the_recorded_one(name: str) -> None:
    config = TrainConfig.of(name.split("-")[0], "demo", {"data.uri": "/x/faces", "training.seed": 3})
    assert config.name_of_version_1 == name, "leave new options out of it"


def test_lr_factor_equals_that_by_hand() -> None:
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


def test_name_with_precision_is_that_of_a_bf16_run() -> None:
    """As the last program that had `precision` made it; of plain runs the name is today's."""
    values = {"data.uri": "/x/data"}
    bf16 = TrainConfig.of("pix2pix", "demo", {**values, "training.fast": ("bf16",)})
    assert bf16.name_with_precision == "pix2pix-demo-data-3b60ad2a"
    plain = TrainConfig.of("pix2pix", "demo", {**values, "training.fast": ("off",)})
    assert plain.name_with_precision == plain.name_with_fit
    assert plain.run_name == bf16.run_name


def saved_with(**training: Any) -> str:
    values = json.loads(TrainConfig.of("pix2pix", "demo").dumps())
    del values["training"]["fast"]
    values["training"] |= training
    return json.dumps(values)


@pytest.mark.parametrize(("precision", "fast"), [("fp32", ("off",)), ("bf16", ("bf16",))])
def test_loads_reads_precision_of_earlier_programs(precision: str, fast: tuple[str, ...]) -> None:
    assert TrainConfig.loads(saved_with(precision=precision), "config.json").training.fast == fast


@pytest.mark.parametrize(
    "wrong", [{"precision": "fp16"}, {"precision": ["bf16"]}, {"precision": "fp32", "fast": ["off"]}]
)
def test_loads_refuses_a_precision_that_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: training\.precision"):
        TrainConfig.loads(saved_with(**wrong), "config.json")
