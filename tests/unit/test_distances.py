"""Distances between sets of images against the papers' formulas, the networks behind them, and the features that are
kept.

pytest tests/unit/test_distances.py
"""

from __future__ import annotations

import http.server
import io
import pickle
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchvision.models import AlexNet_Weights

from i2i_core.batch import Batch
from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import ConfigError, DataError
from i2i_core.evaluation.families import distances
from i2i_core.evaluation.families.distances import (
    EFFICIENTNET,
    INCEPTION,
    SEED,
    Distances,
    build_efficientnet,
    build_inception,
    frechet,
    inception_score,
    kernel,
)
from i2i_core.evaluation.samples import Asked, Measured, Outputs, chunks
from i2i_core.methods.base import Method, Needs
from i2i_core.pretrained import backbones, weights
from i2i_core.pretrained.backbones import EfficientNet, Inception
from i2i_core.pretrained.weights import Published
from i2i_core.sizes import Resizing
from i2i_core.storage.paths import sha256

from ..support.pairs import Labelled, Paired

CPU = torch.device("cpu")


class Unpaired(Paired):
    needs = Needs({"image": "image"}, domains=2)
    inputs, outputs = {"a": "image"}, {"b": "image"}


class Pixels:
    """A judge that sees five averages and squares of pixels, and counts the images it saw."""

    dimensions = 10

    def __init__(self, name: str = "pixels") -> None:
        self.facts, self.saw = {"network": name}, 0

    def __call__(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        self.saw += len(x_BCHW)
        x = nn.functional.adaptive_avg_pool2d(x_BCHW.mean(1, keepdim=True), (5, 1)).flatten(1)
        return torch.cat([x, x**2], dim=1), 4 * x


def some(batch: Batch) -> tuple[Tensor, Tensor]:
    """Of labelled samples, those with the first attribute can be translated."""
    return batch["labels"][:, 0] > 0, batch["labels"]


def darker(x: Tensor) -> Tensor:
    return x * 0.7 - 0.2


def asked(uri: str, method: Method[Any], split: str = "test", *, most: int = 0, **judging: Any) -> Asked:
    return Asked(method, DataSet(uri), split, 16, judging=EvaluationConfig(**judging), most=most)


def parts_of(family: Distances, question: Asked, rank: int = 0, world: int = 1) -> list[tuple[Any, Any]]:
    target = some if question.data.manifest.kind == "labelled" else None
    found = chunks(question, rank, world)
    return [(place, family.chunk(Outputs(question.method, batch, target))) for place, batch in found]


def measured(family: Distances, question: Asked) -> dict[str, Measured]:
    return family.result([part for _, part in parts_of(family, question)])


# ---------------------------------------------------------------- the formulas


def root(s_DD: np.ndarray) -> np.ndarray:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(s_DD)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def heusel(x: np.ndarray, y: np.ndarray) -> float:
    """Heusel et al. 2017, eq. 6, with tr (S S')^(1/2) = tr (S^(1/2) S' S^(1/2))^(1/2)."""
    s, t = np.cov(x.T), np.cov(y.T)
    apart = x.mean(0) - y.mean(0)
    return float(apart @ apart + np.trace(s + t - 2 * root(root(s) @ t @ root(s))))


def binkowski(x: np.ndarray, y: np.ndarray) -> float:
    """Binkowski et al. 2018, the unbiased estimator of MMD^2, pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    m, n = len(x), len(y)
    inside_x = sum(k(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    inside_y = sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return inside_x + inside_y - 2 * sum(k(a, b) for a in x for b in y) / (m * n)


def salimans(logits: np.ndarray) -> float:
    """Salimans et al. 2016: exp of the mean of KL(p(y|x) || p(y))."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return float(np.exp(np.mean([sum(a * np.log(a / b) for a, b in zip(row, p.mean(0), strict=True)) for row in p])))


def gaussian(n: int, mean: np.ndarray, covariance: np.ndarray, seed: int) -> np.ndarray:
    """n points whose sample mean and covariance are exactly those."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(0)
    return x @ np.linalg.inv(root(np.cov(x.T))) @ root(covariance) + mean


@pytest.mark.parametrize(("n", "m", "d"), [(60, 45, 6), (8, 9, 20), (30, 5, 12)])
def test_frechet_is_equation_6_with_many_and_with_few_images(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(d)
    x, y = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(size=(m, d)) + 0.3
    assert frechet(x, y) == pytest.approx(heusel(x, y), rel=1e-6)
    theirs = fid_statistics_to_metric(*(fid_features_to_statistics(torch.from_numpy(f)) for f in (x, y)), False)
    assert frechet(x, y) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)


def test_frechet_of_gaussians_is_exact() -> None:
    """(S T)^(1/2) of 2 x 2 matrices has the trace (tr S T + 2 det^(1/2) S T)^(1/2)."""
    m, s, t = np.array([1.0, -2.0]), np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.8], [-0.8, 3.0]])
    x, y = gaussian(40, np.zeros(2), s, 0), gaussian(70, m, t, 1)
    expected = 5.0 + np.trace(s + t) - 2 * np.sqrt(np.trace(s @ t) + 2 * np.sqrt(np.linalg.det(s @ t)))
    assert frechet(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [5, 300])
def test_distances_of_a_set_from_itself_and_from_itself_moved(d: int) -> None:
    x = np.random.default_rng(0).normal(size=(50, d))
    assert frechet(x, x) == pytest.approx(0, abs=1e-10)
    assert frechet(x, x + 0.5) == pytest.approx(d * 0.25, rel=1e-9)
    inside = np.mean([(a @ a / d + 1) ** 3 for a in x])
    across = np.mean([[(a @ b / d + 1) ** 3 for b in x] for a in x])
    expected = 2 * (across * 50 / 49 - inside / 49) - 2 * across  # only the diagonal is left out of K_XX and K_YY
    assert kernel(x, x, 1, 50)[0] == pytest.approx(expected, rel=1e-9)


def test_kernel_is_the_unbiased_estimator_over_seeded_subsets() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 4)), rng.normal(size=(9, 4)) + 0.5
    assert kernel(x, x[::-1] + 0.5, 1, 12)[0] == pytest.approx(binkowski(x, x + 0.5), rel=1e-9)
    draws = np.random.RandomState(SEED)
    subsets = [(x[draws.choice(12, 7, replace=False)], y[draws.choice(9, 7, replace=False)]) for _ in range(5)]
    values = [binkowski(a, b) for a, b in subsets]
    assert kernel(x, y, 5, 7) == pytest.approx((np.mean(values), np.std(values)), rel=1e-9)


def test_inception_score_of_known_predictions() -> None:
    assert inception_score(np.zeros((20, 7)), 4) == pytest.approx((1, 0))
    sure = np.repeat(np.eye(5) * 50, 6, axis=0)
    assert inception_score(sure, 1)[0] == pytest.approx(5)
    assert inception_score(sure, 30)[0] == pytest.approx(1)  # one image knows no other class
    logits = np.random.default_rng(1).normal(size=(11, 6)) * 2
    assert inception_score(logits, 1)[0] == pytest.approx(salimans(logits))
    shuffled = logits[np.random.RandomState(SEED).permutation(11)]
    values = [salimans(shuffled[:3]), salimans(shuffled[3:7]), salimans(shuffled[7:])]
    assert inception_score(logits, 3) == pytest.approx((np.mean(values), np.std(values)))


# ---------------------------------------------------------------- the networks


class Blank(FeatureExtractorInceptionV3):
    """The library's network with its initial, random weights."""

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        return None


def blank() -> Blank:
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    torch.manual_seed(0)
    return Blank("blank", ["2048", "logits_unbiased"], nothing)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tensors of the right names and shapes."""
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(blank().state_dict(), path)
    return str(path)


def test_inception_sees_the_images_rounded_as_its_library_does(inception_file: str) -> None:
    before = torch.random.get_rng_state()
    ours = Inception(inception_file, CPU)
    assert torch.equal(before, torch.random.get_rng_state())
    numbers = torch.randint(0, 256, (1, 1, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    x = numbers.float() / 127.5 - 1 + torch.where(numbers % 2 == 0, 0.003, -0.003)
    with torch.no_grad():
        theirs = blank()(numbers.repeat(1, 3, 1, 1))
    for mine, its in zip(ours(x), theirs, strict=True):
        assert torch.equal(mine, its)
    assert [tuple(t.shape) for t in theirs] == [(1, 2048), (1, 1008)]
    assert ours.facts["sha256"] == sha256(Path(inception_file).read_bytes())
    assert ours.facts["published"] is False


def test_fid_kid_and_is_of_a_method(paired: str, inception_file: str, tmp_path: Path) -> None:
    own = {"inception": inception_file, "statistics": str(tmp_path), "kid_subset_size": 2, "is_splits": 2}
    question = asked(paired, Paired(darker), most=3, **own)
    family = build_inception(question)
    ((_, part),) = parts_of(family, question)
    found = family.result([part])
    assert list(found) == list(INCEPTION) == list(family.metrics)
    assert family.judges == ["fid", "kid", "kid_std", "is", "is_std"]
    made, real, inputs, logits = (part[name].astype(np.float64) for name in ("made", "real", "inputs", "logits"))
    assert (made.shape, logits.shape) == ((3, 2048), (3, 1008))
    assert found["fid"].value == pytest.approx(frechet(made, real))
    assert (found["kid"].value, found["kid_std"].value) == pytest.approx(kernel(made, real, 100, 2))
    assert (found["is"].value, found["is_std"].value) == pytest.approx(inception_score(logits, 2))
    assert found["fid_nothing"].value == pytest.approx(frechet(inputs, real))
    assert found["kid_nothing"].value == pytest.approx(kernel(inputs, real, 100, 2)[0])
    facts = family.facts()
    assert facts["images"] == {"made": 3, "real": 3, "inputs": 3}
    assert facts["fid"]["images_per_dimension"] == pytest.approx(3 / 2048, abs=1e-4)
    assert "3 images; 2,048 are needed" in facts["fid"]["warning"]
    assert "biased" in facts["fid"]["warning"]
    assert facts["kid"]["subset_size"] == 2
    assert facts["is"] == {"splits": 2, "images_per_split": 1.5}


class Trap:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("it ran",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("nothing there", "no file"),
        (b"no weights", "cannot read"),
        ([1, 2], "something else than tensors"),
        ({"a": torch.zeros(2)}, "with other tensors"),
        (Trap(), "cannot read"),
    ],
)
def test_inception_refuses_a_file_of_something_else(
    content: Any, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif not isinstance(content, str):
        torch.save(content, path)
    with pytest.raises(ConfigError, match=says) as refused:
        Inception(str(path), CPU)
    assert "--inception" in str(refused.value)
    assert backbones.INCEPTION.url in str(refused.value)
    assert "it ran" not in capsys.readouterr().out


def test_inception_names_shapes_of_another_network(inception_file: str, tmp_path: Path) -> None:
    state = torch.load(inception_file, weights_only=True)
    state["fc.weight"] = torch.zeros(1000, 2048)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"size mismatch for fc\.weight"):
        Inception(str(tmp_path / "other.pth"), CPU)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str, Callable[[], None]]]:
    """A web site: its folder, its address, and how to close it; and an empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "site"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def close() -> None:
        server.shutdown()
        server.server_close()

    yield folder, f"http://127.0.0.1:{server.server_port}", close
    close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        return None


def test_published_weights_are_fetched_once(site: tuple[Path, str, Callable[[], None]], said: list[str]) -> None:
    folder, address, close = site
    torch.save({"x": torch.arange(3)}, folder / "net.pth")
    checksum = sha256((folder / "net.pth").read_bytes())
    published = Published("a network", f"{address}/net.pth", checksum[:8], "--net", "something else")
    with pytest.raises(ConfigError, match="other bytes than its checksum"):
        replace(published, sha256="00000000").read("")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / "net.pth"
    assert not cached.parent.exists()
    read = published.read("")
    assert read.state["x"].tolist() == [0, 1, 2]
    assert read.facts == {"file": "net.pth", "sha256": checksum, "published": True}
    cached.write_bytes(b"torn")
    assert published.read("").sha256 == checksum
    assert "damaged" in said[-1]
    close()
    assert published.read("").sha256 == checksum


def test_published_weights_that_are_truncated_say_so_and_leave_nothing(
    site: tuple[Path, str, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address, _ = site
    (folder / "net.pth").write_bytes(b"x" * 1234)
    header = Quiet.send_header
    said = {"Content-Length": "2000"}
    monkeypatch.setattr(Quiet, "send_header", lambda to, name, value: header(to, name, said.get(name, value)))
    with pytest.raises(ConfigError, match=r"the download is truncated: 1,234 of 2,000 bytes came") as refused:
        Published("a network", f"{address}/net.pth", sha256(b"x" * 1234)[:8], "--net").read("")
    assert "Run the same command again, or fetch it where that works, and name it: --net FILE." in str(refused.value)
    assert [path for path in Path(torch.hub.get_dir()).rglob("*") if path.is_file()] == []


def test_published_weights_of_a_site_that_does_not_answer_are_given_up(
    site: tuple[Path, str, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConfigError, match="timed out") as raised:
            Published("a network", f"{address}/net.pth", "00000000", "--net", "measure something else").read("")
    assert "--net FILE. Or measure something else." in str(raised.value)
    assert socket.getdefaulttimeout() is None


def test_inception_without_internet_says_what_to_fetch_and_what_else_there_is(
    paired: str, site: tuple[Path, str, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, address, close = site
    close()
    url = f"{address}/{backbones.INCEPTION.file}"
    monkeypatch.setattr(backbones, "INCEPTION", replace(backbones.INCEPTION, url=url))
    with pytest.raises(ConfigError) as refused:
        build_inception(asked(paired, Paired(darker)))
    for part in ("--inception FILE", "6726825d.pth", url, "efficientnet_frechet", "efficientnet_kernel"):
        assert part in str(refused.value)


def test_efficientnet_knows_a_photo_and_its_range() -> None:
    photo = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 127.5 - 1
    network = EfficientNet(CPU)
    (seen,) = network(x)
    assert seen.shape == (1, network.dimensions)
    sure, best = network.network._fc(seen).softmax(dim=1)[0].max(dim=0)
    assert AlexNet_Weights.IMAGENET1K_V1.meta["categories"][best] == "military uniform"
    assert sure > 0.45  # 0.38 with the mean and deviation of other ImageNet networks


def test_efficientnet_distances_of_a_method(paired: str, tmp_path: Path) -> None:
    question = asked(paired, Paired(darker), most=4, statistics=str(tmp_path))
    family = build_efficientnet(question)
    found = measured(family, question)
    assert list(found) == list(EFFICIENTNET)
    network = EfficientNet(CPU)
    (batch,) = (batch for _, batch in chunks(question))
    made, real, inputs = (network(x)[0].double().numpy() for x in (darker(batch["a"]), batch["b"], batch["a"]))
    assert found["efficientnet_frechet"].value == pytest.approx(frechet(made, real))
    assert found["efficientnet_kernel"].value == pytest.approx(kernel(made, real, 100, 4)[0])
    assert found["efficientnet_frechet_nothing"].value == pytest.approx(frechet(inputs, real))
    assert found["efficientnet_kernel_nothing"].value == pytest.approx(kernel(inputs, real, 100, 4)[0])
    assert "4 images; 1,000 are needed for a subset" in family.facts()["efficientnet_kernel"]["warning"]
    with pytest.raises(DataError, match="1 image to measure; expected 2 or more"):
        build_efficientnet(replace(question, most=1))
    with pytest.raises(DataError, match="'nope'"):
        build_efficientnet(replace(question, split="nope"))
    data = DataSet(paired)
    fields = data.manifest.fields
    data.manifest = replace(data.manifest, fields={**fields, "b": replace(fields["b"], channels=4)})
    with pytest.raises(DataError, match="4 channels"):
        build_efficientnet(replace(question, data=data))
    assert build_efficientnet(replace(question, data=data, direction="BtoA"))


# ---------------------------------------------------------------- a family of them


@pytest.mark.parametrize("kind", ["paired", "labelled", "unpaired"])
def test_distances_are_equal_bits_for_any_number_of_workers(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uri = request.getfixturevalue(kind)
    method = {"paired": Paired, "labelled": Labelled, "unpaired": Unpaired}[kind](darker)
    results = []
    for world in (1, 2, 3):
        question = asked(uri, method, "train" if kind == "unpaired" else "test", statistics=str(tmp_path / f"{world}"))
        found = []
        for rank in range(world):
            family = Distances(question, Pixels(), INCEPTION)
            found += parts_of(family, question, rank, world)
        results.append(family.result([part for _, part in sorted(found, key=lambda each: each[0])]))
        assert (family.facts()["images"]["made"] < 36) == (kind == "labelled")
        assert family.facts()["images"]["real"] == {"paired": 36, "labelled": 36, "unpaired": 54}[kind]
    assert results[0] == results[1] == results[2]
    assert results[0]["fid_nothing"] != results[0]["fid"]


@pytest.mark.parametrize("kind", ["paired", "labelled", "unpaired"])
def test_distances_of_a_method_that_changes_nothing_are_those_of_doing_nothing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Also from the features of inputs that an earlier evaluation kept."""
    method = {"paired": Paired, "labelled": Labelled, "unpaired": Unpaired}[kind](lambda x: x)
    question = asked(request.getfixturevalue(kind), method, statistics=str(tmp_path))
    for _ in range(2):
        found = measured(Distances(question, Pixels(), INCEPTION), question)
        assert found["fid_nothing"] == found["fid"]
        assert found["kid_nothing"] == found["kid"]


def test_distances_of_doing_nothing_are_computed_once_for_the_same_images(
    paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training evaluates the same split again and again."""
    question, calls = asked(paired, Paired(darker), most=8, statistics=str(tmp_path)), list[int]()
    monkeypatch.setattr(distances, "frechet", lambda x, y: calls.append(len(x)) or frechet(x, y))
    family = Distances(question, Pixels(), INCEPTION)
    found = [measured(family, question) for _ in range(2)]
    assert (found[0], calls) == (found[1], [8, 8, 8])
    assert family.facts()["images"] == {"made": 8, "real": 8, "inputs": 8}
    other = measured(family, replace(question, most=6))
    assert other["fid_nothing"] != found[0]["fid_nothing"]


def test_distances_say_why_doing_nothing_is_not_measured(paired: str, tmp_path: Path) -> None:
    question = asked(paired, Paired(darker), statistics=str(tmp_path))
    data, manifest = question.data, question.data.manifest
    fields = manifest.fields
    data.manifest = replace(manifest, fields={**fields, "a": replace(fields["a"], channels=4)})
    family = Distances(question, Pixels(), INCEPTION)
    data.manifest = manifest
    why = "the inputs have 4 channels; expected 1 or 3"
    assert family.absent() == {"fid_nothing": why, "kid_nothing": why}
    assert "fid_nothing" not in measured(family, question)


def test_real_features_are_kept_and_used_again(paired: str, tmp_path: Path) -> None:
    question = asked(paired, Paired(darker), statistics=str(tmp_path))
    first, second = Pixels(), Pixels()
    found = measured(Distances(question, first, INCEPTION), question)
    again = Distances(question, second, INCEPTION)
    assert measured(again, question) == found
    assert (first.saw, second.saw) == (108, 36)
    assert again.facts()["real_features"]["state"] == "read"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda q: (replace(q, most=33), "pixels"),
        lambda q: (replace(q, split="val"), "pixels"),
        lambda q: (replace(q, direction="BtoA"), "pixels"),
        lambda q: (replace(q, image_size=8), "pixels"),
        lambda q: (replace(q, resizing=Resizing("shorter")), "pixels"),
        lambda q: (replace(q, resizing=Resizing(resample="bilinear")), "pixels"),
        lambda q: (q, "other pixels"),
    ],
    ids=["most", "split", "direction", "size", "fit", "resample", "network"],
)
def test_real_features_of_another_definition_are_not_used(change: Any, paired: str, tmp_path: Path) -> None:
    question = asked(paired, Paired(darker), statistics=str(tmp_path))
    measured(Distances(question, Pixels(), INCEPTION), question)
    other, name = change(question)
    network = Pixels(name)
    measured(Distances(other, network, INCEPTION), other)
    turned = other.direction != question.direction  # then truths and inputs change places, and both are kept
    assert network.saw == (1 if turned else 3) * (other.most or 36)
    assert len(list(tmp_path.iterdir())) == (2 if turned else 4)


def test_real_features_of_a_damaged_file_are_computed_again_with_a_warning(
    paired: str, tmp_path: Path, said: list[str]
) -> None:
    question = asked(paired, Paired(darker), statistics=str(tmp_path))
    found = measured(Distances(question, Pixels(), INCEPTION), question)
    file = tmp_path / Distances(question, Pixels(), INCEPTION).real.file
    whole = file.read_bytes()
    with np.load(io.BytesIO(whole)) as arrays:
        other = {**arrays, "definition": np.array("another")}
    stranger = io.BytesIO()
    np.savez(stranger, **other)
    flipped = bytearray(whole)
    flipped[whole.index(b"features.npy") + 200] ^= 1
    wrong = {"damaged": [whole[:-40], bytes(flipped), b"", pickle.dumps([1])], "other features": [stranger.getvalue()]}
    for words, contents in wrong.items():
        for content in contents:
            file.write_bytes(content)
            network = Pixels()
            family = Distances(question, network, INCEPTION)
            assert measured(family, question) == found
            assert network.saw == 72  # made and real; inputs are kept
            assert words in said.pop()
            assert words in family.facts()["real_features"]["state"]
            assert file.read_bytes() == whole


def test_real_features_warn_of_a_folder_that_cannot_be_written(paired: str, tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("")
    question = asked(paired, Paired(darker), statistics=str(tmp_path / "file" / "below"))
    family = Distances(question, Pixels(), INCEPTION)
    assert measured(family, question)["fid"].value > 0
    assert "not kept" in said[-1]
    assert "not kept" in family.facts()["real_features"]["state"]


def test_real_features_are_kept_in_the_users_cache(
    paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    question = asked(paired, Paired(darker))
    measured(Distances(question, Pixels(), INCEPTION), question)
    assert len(list((tmp_path / "i2i" / "real-features").iterdir())) == 2  # of truths and of inputs


def test_distances_refuse_a_split_of_which_nothing_was_made(paired: str, tmp_path: Path) -> None:
    family = Distances(asked(paired, Paired(darker), statistics=str(tmp_path)), Pixels(), INCEPTION)
    with pytest.raises(DataError, match="0 images"):
        family.result([])


class Noise(Paired):
    """Makes images of nothing: those of the data, or their mean, whatever is asked."""

    inputs: Mapping[str, str] = {}
    outputs: Mapping[str, str] = {"b": "image"}


def test_distances_of_a_method_without_inputs_stand_beside_the_mean_of_the_real_images(
    paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Noise(darker)
    monkeypatch.setattr(
        Noise, "translate", lambda self, x, told=None, *args, keys, **more: {"b": torch.zeros(len(keys), 3, 16, 16)}
    )
    question = asked(paired, method, statistics=str(tmp_path))
    family = Distances(question, Pixels(), distances.EFFICIENTNET)  # type: ignore[arg-type]
    found = measured(family, question)
    real = torch.cat([batch["b"] for _, batch in chunks(question)])
    seen = Pixels()(real)[0].numpy().astype(np.float64)
    mean = Pixels()(real.double().mean(0, keepdim=True).float().expand(2, -1, -1, -1))[0].numpy().astype(np.float64)
    assert found["efficientnet_frechet_nothing"].value == pytest.approx(frechet(mean, seen))
    assert found["efficientnet_frechet_nothing"].count == len(real)
    assert set(family.absent()) == {"efficientnet_kernel_nothing", "efficientnet_kernel_std_nothing"} & set(
        distances.EFFICIENTNET
    )
