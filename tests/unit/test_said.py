"""What a method says of itself: names of fields, what cannot be, and what is made frame by frame.

pytest tests/unit/test_said.py
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from i2i_core.batch import Bad, Batch
from i2i_core.errors import DataError
from i2i_core.evaluation import extremes
from i2i_core.evaluation.samples import Outputs
from i2i_core.evaluation.suite import check_inputs
from i2i_core.fields import WHOLE, Field, Needs
from i2i_core.images.codec import encode
from i2i_core.methods.base import Direction, Method, Values, check_declared
from i2i_core.methods.controls import Code, Examples, Labels
from i2i_core.translation.codes import codes_of
from i2i_core.translation.inputs import Files, Split
from i2i_core.translation.translator import Translator

from ..support.data import png, write_tar, write_whole
from ..support.scenes import Function

PAIRS, ONE = Needs({"a": "image", "b": "image"}), Needs({"labels": "classes", "a": "image"})
DOMAINS, GROUPS = Needs({"image": "image", "labels": "classes"}, domains=2), Needs({"image": "image"}, companions=2)


@pytest.mark.parametrize(
    ("needs", "name", "direction", "stored"),
    [
        (PAIRS, "a", "AtoB", "a"),
        (PAIRS, "a", "BtoA", "b"),
        (ONE, "a", "BtoA", "a"),
        (ONE, "labels", "BtoA", "labels"),
        (DOMAINS, "b", "BtoA", "image"),
        (DOMAINS, "a.labels", "AtoB", "labels"),
        (GROUPS, "companions", "AtoB", "image"),
    ],
)
def test_needs_name_the_data_sets_field_of_a_batch(needs: Needs, name: str, direction: str, stored: str) -> None:
    assert needs.stored(name, direction) == stored


class Said(Method[None]):
    """One that says what a test has it say."""

    generators = ()

    def __init__(self, **said: Any) -> None:
        super().__init__(None)
        self.weight = nn.Parameter(torch.zeros(()))
        for name, value in {"needs": PAIRS, "inputs": {"a": "image"}, "outputs": {"b": "image"}, **said}.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"inputs": {"label": "image"}}, "input label, which is none of its fields a, b"),
        ({"outputs": {"img": "image"}}, "output img, which is none of its fields"),
        (
            {"needs": ONE, "inputs": {"a": "image"}, "outputs": {"labels": "classes"}},
            "labels of role classes; expected im",
        ),
        ({"needs": Needs({"a": "text", "b": "image"}), "inputs": {"a": "text"}}, "a of role text; expected tensors"),
        ({"controls": {"z": Code(), "w": Code()}}, "2 controls of 1 kinds"),
        ({"needs": Needs({"a": "image", "b": "image"}, frames=2), "inputs": {}}, "sequences without inputs"),
    ],
)
def test_method_that_cannot_be_is_refused_before_a_run(said: dict[str, Any], message: str) -> None:
    check_declared(Said())
    with pytest.raises(TypeError, match=message):
        check_declared(Said(**said))


@pytest.mark.parametrize("found", [None, [torch.zeros(2, 1, 4, 4)], torch.zeros(1, 4, 4), (torch.zeros(2, 1),) * 2])
def test_method_checks_what_its_module_gives(found: Any) -> None:
    method = Said()
    method.module = lambda direction: Function(lambda x: found)  # type: ignore[method-assign]
    with pytest.raises(TypeError, match=r"module\(\) of Said gave .*; expected b, each a tensor \(n, ...\) of 2"):
        method.translate({"a": torch.zeros(2, 1, 4, 4)})


class Trace(Said):
    """Each frame is the one before it, half as strong, and the new one; the other way with another share."""

    memory: ClassVar = ("before",)
    two_way = True

    def first_memory(self, inputs: Values) -> Values:
        return {"before": torch.zeros_like(next(iter(inputs.values())))}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        share = 0.5 if direction == "AtoB" else 0.25

        def frame(x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
            return x + share * before, x + share * before

        return Function(frame)


def test_outputs_of_sequences_go_there_and_back_with_their_memory() -> None:
    needs = Needs({"a": "image", "b": "image"}, frames=3)
    method, x = Trace(needs=needs), torch.rand(2, 3, 1, 4, 4)
    batch = Batch({"a": x, "b": x}, 2, 0, 2, 0, 0, keys=("k", "l"))
    outputs = Outputs(method, batch)

    def by_hand(frames: Tensor, share: float) -> Tensor:
        made = [frames[:, 0]]
        for t in (1, 2):
            made.append(frames[:, t] + share * made[-1])
        return torch.stack(made, dim=1)

    assert outputs.made is not None
    there = by_hand(x, 0.5)
    torch.testing.assert_close(outputs.made, there.flatten(0, 1))
    torch.testing.assert_close(outputs.back(outputs.made), by_hand(there, 0.25).flatten(0, 1))
    assert outputs.keys == ("k+0", "k+1", "k+2", "l+0", "l+1", "l+2")


class Mapped(Said):
    two_way = False

    def channels(self) -> dict[str, int]:
        return {"b": 3}


def test_outputs_of_a_map_of_one_domain_are_stored_as_images_of_the_other(tmp_path: Path) -> None:
    """Not as the last field is."""
    fields = {
        "image": Field("png", 3, "uint8", 4, 5),
        "labels": Field("png", 1, "uint8", 4, 5, role="classes", classes=2),
        "vec": Field("npy", 0, "float32", 0, 0, role="vector", shape=(2,)),
    }
    members = {"image.png": png(), "labels.png": encode(np.zeros((4, 5, 1), np.uint8), "png")}
    write_tar(tmp_path / "all.tar", {"k": {**members, "vec.npy": encode(np.zeros((1, 2, 1), np.float32), "npy")}})
    data = write_whole(tmp_path, ["k"], fields)
    whole = data.manifest.splits["test"].pop(WHOLE)
    data.manifest.splits["test"].update({"A": whole, "B": whole})
    object.__setattr__(data.manifest, "domains", ("A", "B"))
    needs = Needs({"image": "image", "labels": "classes"}, domains=2)
    split = Split(data, "test", Mapped(needs=needs, inputs={"a.labels": "classes"}, outputs={"b": "image"}))
    assert split.columns == {"a.labels": 1}
    assert (split.dtype, split.truths) == ("uint8", False)
    assert split.written == data.manifest.fields["image"]


def test_codes_of_a_clip_are_those_of_its_first_frame_though_it_is_unreadable() -> None:
    """So that the others do not change with it."""
    seen: list[Any] = []

    class Noted(Translator):
        def __init__(self) -> None:
            self.job: Any = SimpleNamespace(inputs=SimpleNamespace(names=["c/0", "c/1", "c/2"]), shown=())

        def load(self, chunk: Any) -> Any:
            return [], {0: Bad("c/0", "broken")}

        def translated(self, images: Any, clip: str = "") -> Any:
            seen.append(clip)
            return iter(())

    Noted().run([0, 1, 2])
    assert seen == ["c/0"]


def test_suite_refuses_data_without_a_field_that_was_trained_on() -> None:
    needs = Needs({"labels": "classes", "image": "image", "edges?": "map"})
    method = Said(needs=needs, inputs={"labels": "classes", "edges": "map"}, outputs={"image": "image"})
    manifest = SimpleNamespace(fields={"labels": None, "image": None})
    asked: Any = SimpleNamespace(method=method, data=SimpleNamespace(manifest=manifest, uri="x"), direction="AtoB")
    with pytest.raises(DataError, match="data x: found no field edges; expected one, of role map"):
        check_inputs(asked)


class PairsOfLabels(Said):
    controls: ClassVar = {"target": Labels()}


def test_extremes_go_back_by_their_label_only_where_labels_are_translated() -> None:
    """Of pairs with labels what is made is another kind of image, with other channels."""
    method, x = PairsOfLabels(), torch.rand(1, 1, 4, 4)
    method.module = lambda direction: Function(lambda a, c: a.expand(-1, 3, -1, -1))  # type: ignore[method-assign]
    batch = Batch({"a": x, "b": x}, 1, 0, 1, 0, 0, keys=("k",))
    outputs = Outputs(method, batch, lambda batch: (torch.tensor([True]), torch.zeros(1, 2)))
    labels: Any = SimpleNamespace(own=lambda batch: torch.zeros(1, 2))
    image = Field("png", 1, "uint8", 4, 4)
    assert list(extremes._images(outputs, labels, {"a": image}, 0)) == ["source", "translation", "truth"]


def test_method_leaves_a_network_that_only_module_runs_as_it_was() -> None:
    """Its running statistics among what is left."""
    method, norm = Said(), nn.BatchNorm2d(1)
    method.extra = norm.train()
    method.module = lambda direction: norm  # type: ignore[method-assign]
    method.translate({"a": torch.rand(4, 1, 3, 3)})
    assert norm.training
    assert norm.num_batches_tracked == 0


def test_inputs_order_frames_of_folders_by_their_numbers() -> None:
    paths = [f"{clip}/{frame}.png" for clip in ("c", "c/1", "d") for frame in (1, 10, 2)]
    clips = Files(None, sorted(paths), [path[:-4] for path in sorted(paths)]).clips()
    found = sorted([sorted(paths)[i] for i in clip] for clip in clips)
    assert found == [[f"{clip}/{frame}.png" for frame in (1, 2, 10)] for clip in ("c", "c/1", "d")]


class Coded(Said):
    controls: ClassVar = {"like": Examples(), "z": Code()}


def test_translate_has_flags_for_examples_and_for_codes() -> None:
    inputs: Any = SimpleNamespace(names=["x"])
    samples = codes_of(Coded(), inputs, samples=3, like="some.png")
    assert samples is not None
    assert len(samples.titles) == 3
    between = codes_of(Coded(), inputs, interpolate=4, like="some.png")
    assert between is not None
    assert len(between.titles) == 4
    assert codes_of(Coded(), inputs, like="some.png") is None


class Labelled(Said):
    controls: ClassVar = {"like": Examples("again"), "target": Labels()}


def test_outputs_of_chosen_samples_take_their_own_examples() -> None:
    needs, told = Needs({"image": "image"}, attributes=True), list[Tensor]()
    method = Labelled(needs=needs, inputs={"image": "image"}, outputs={"image": "image"})
    method.module = lambda direction: Function(lambda x, like, c: told.append(like) or x)  # type: ignore
    x, like = torch.rand(3, 1, 4, 4), torch.rand(3, 2, 1, 4, 4)
    batch = Batch({"image": x, "again": like}, 3, 0, 3, 0, 0, keys=("k", "l", "m"))
    chosen = torch.tensor([True, False, True])
    outputs = Outputs(method, batch, lambda batch: (chosen, torch.zeros(3, 2)))
    assert outputs.made is not None
    assert torch.equal(told[0], like[chosen])
    assert torch.equal(outputs.make({"target": torch.zeros(2, 2)}, chosen, x[:2]), x[:2])
