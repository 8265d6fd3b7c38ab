"""Measure how far made images, taken together, are from real ones: Fréchet and kernel distances between their features,
and Inception Score; beside the distances, those of the input images (doing nothing).

x_ND, y_MD: features of N made and M real images, each D numbers; computed in float64.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.errors import DataError, counted
from i2i_core.evaluation.cache import cache
from i2i_core.evaluation.samples import (
    NOTHING,
    Asked,
    Family,
    Measured,
    Metric,
    Outputs,
    beside,
    check_channels,
    no_idle,
    side_of,
    source_of,
)
from i2i_core.images.arrays import read_npz
from i2i_core.pretrained.backbones import EfficientNet, Extractor, Inception
from i2i_core.sizes import Resizing, sides
from i2i_core.storage.folder import Folder
from i2i_core.storage.retry import AT_START, StorageError, patient_for

logger = logging.getLogger(__name__)

SEED = 2020
"""Seed of KID's subsets and of the order that Inception Score splits: torch-fidelity's own."""
FORMAT = 1
"""Version of the files of kept features."""

_FRECHET = "Frechet distance between made and real images, |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)), of the means and "
_KERNEL = "kernel distance between made and real images: the unbiased MMD^2 with the kernel (x.y / D + 1)^3 "
_KERNEL_OVER = ", mean over random subsets of the images (Binkowski et al. 2018)"

_NO_STD = "none: it says how sure the value beside it is"

_INCEPTION = {
    "fid": Metric(
        "lower", _FRECHET + "covariances of their 2048 Inception features (Heusel et al. 2017, eq. 6); biased upward "
        "when images are few"
    ),
    "kid": Metric("lower", _KERNEL + "of their 2048 Inception features" + _KERNEL_OVER + ", by torch-fidelity"),
    "kid_std": Metric("lower", "standard deviation of kid over those subsets", _NO_STD),
    "is": Metric(
        "higher", "Inception Score of the made images, exp(mean KL(p(y|x) || p(y))), mean over parts of them (Salimans "
        "et al. 2016), by torch-fidelity; knows no real images", "none: features of inputs are kept without classes"
    ),
    "is_std": Metric("lower", "standard deviation of is over those parts", _NO_STD),
}  # fmt: skip
_EFFICIENTNET = {
    "efficientnet_frechet": Metric(
        "lower", _FRECHET + "covariances of their 1280 features of EfficientNet-lite0; not comparable with any fid"
    ),
    "efficientnet_kernel": Metric(
        "lower", _KERNEL + "of their 1280 features of EfficientNet-lite0" + _KERNEL_OVER + "; not comparable with any "
        "kid"
    ),
    "efficientnet_kernel_std": Metric(
        "lower", "standard deviation of efficientnet_kernel over those subsets", _NO_STD
    ),
}  # fmt: skip


def _with_idle(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Add what doing nothing scores: the distance between the input images and the target's; for methods without
    inputs, between the mean of the real images and these."""
    beside_it = [beside(name, metric) for name, metric in metrics.items() if not metric.nothing]
    return metrics | {name: metric for both in beside_it for name, metric in both.items()}


INCEPTION = _with_idle(_INCEPTION)
EFFICIENTNET = _with_idle(_EFFICIENTNET)


def build_inception(asked: Asked) -> Family:
    """Make the family of INCEPTION's metrics.

    Raises:
        DataError: images that are neither grey nor RGB, fewer than two of them, no such split.
        ConfigError: the network's weights are not there.
    """
    check_inception(asked)
    return Distances(asked, Inception(asked.judging.inception, asked.device), INCEPTION)


def build_efficientnet(asked: Asked) -> Family:
    """Make the family of EFFICIENTNET's metrics. Raise as `build_inception`."""
    check_efficientnet(asked)
    return Distances(asked, EfficientNet(asked.device), EFFICIENTNET)


def check_inception(asked: Asked) -> None:
    """Raise DataError for images that are neither grey nor RGB, or fewer than two of them."""
    _check(asked, "fid, kid and is")


def check_efficientnet(asked: Asked) -> None:
    """Raise DataError as `check_inception`."""
    _check(asked, "efficientnet_frechet and efficientnet_kernel")


def _check(asked: Asked, metrics: str) -> None:
    """Raise DataError."""
    check_channels(asked, metrics)
    data, most = asked.data, asked.most
    for domain in data.manifest.domains:
        n = data.shard_set(asked.split, domain).samples
        _enough(min(n, most) if most else n, f"split {asked.split!r} of {data.uri}", metrics)


def _enough(n: int, where: str, metrics: str) -> None:
    if n < 2:
        fix = f"Measure more images, or leave {metrics} out."
        raise DataError(where, f"{counted(n, 'image')} to measure", f"2 or more for {metrics}", fix)


def frechet(x_ND: np.ndarray, y_MD: np.ndarray) -> float:
    """Compute the squared Fréchet distance between the normal distributions with the features' means and covariances
    (Heusel et al. 2017, eq. 6).

    With R'R = S, a QR decomposition of the centred features, the trace of (S S')^(1/2) is the sum of the singular
    values of R R'^T. That is exact for few images too, where S S' is singular and its computed eigenvalues, whose
    roots torch-fidelity sums, are rounding errors; and it then takes a small part of the time.
    """
    x, y = _root(x_ND), _root(y_MD)
    apart = np.square(x_ND.mean(axis=0) - y_MD.mean(axis=0)).sum()
    return float(apart + np.square(x).sum() + np.square(y).sum() - 2 * np.linalg.norm(x @ y.T, ord="nuc"))


def _root(x_ND: np.ndarray) -> np.ndarray:
    """Factor the covariance of features: R, (min(N, D), D), with R'R the covariance."""
    return np.asarray(np.linalg.qr((x_ND - x_ND.mean(axis=0)) / np.sqrt(len(x_ND) - 1), mode="r"))


def kernel(x_ND: np.ndarray, y_MD: np.ndarray, subsets: int, size: int) -> tuple[float, float]:
    """Compute the kernel distance: mean and standard deviation over random subsets of `size` images of each side."""
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric  # late: slow

    x, y = torch.from_numpy(x_ND), torch.from_numpy(y_MD)
    found = kid_features_to_metric(x, y, kid_subsets=subsets, kid_subset_size=size, rng_seed=SEED, verbose=False)
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD]


def inception_score(logits_NC: np.ndarray, splits: int) -> tuple[float, float]:
    """Compute the Inception Score: mean and standard deviation over `splits` parts of the shuffled images."""
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric  # late: slow

    found = isc_features_to_metric(torch.from_numpy(logits_NC), splits, shuffle=True, rng_seed=SEED)
    return found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]


class RealFeatures:
    """Keep the features of a split's stored images in a folder, so that a network computes them once.

    The file's name is a digest of the definition (data, split, side, size, network); the file holds the definition as
    well, and is used only where it is the same.

    Attributes:
        state: what became of the file, in words, for the JSON.
    """

    def __init__(self, folder: str, definition: Mapping[str, Any], dimensions: int) -> None:
        self.folder = Folder(folder or cache("real-features"))
        self.definition = json.dumps(definition, sort_keys=True)
        self.file = _file(self.definition)
        self.state = "computed"
        self._row: dict[str, int] = {}
        self._features_ND = np.empty((0, dimensions), np.float32)
        self._added: dict[tuple[str, ...], np.ndarray] = {}
        """Features that this process computed, by the keys of their chunk."""
        with patient_for(AT_START):
            self._read()

    def _read(self) -> None:
        try:
            data = self.folder.read(self.file)
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, StorageError) as error:
            self._again(f"cannot be read ({error})")
            return
        try:
            definition, keys, features = read_npz(data, ("definition", "keys", "features")).values()
            fits = (
                definition.shape == ()
                and keys.ndim == 1
                and features.shape == (len(keys), self._features_ND.shape[1])
                and features.dtype == np.float32
            )
        except ValueError as error:
            self._again(f"is damaged ({error})")
            return
        if not fits or definition.item() != self.definition:
            self._again("holds other features")
            return
        self._row, self._features_ND = {key: i for i, key in enumerate(keys.tolist())}, features
        self.state = "read"

    def _again(self, why: str) -> None:
        self.state = f"computed: the file {why}"
        logger.warning(f"{self.folder.at(self.file)} {why}: features of real images are computed again")

    def of(self, keys: Sequence[str]) -> np.ndarray | None:
        """Look up the features of images by their keys, (n, D); None unless all are kept."""
        if (added := self._added.get(tuple(keys))) is not None:
            return added
        rows = [self._row.get(key, -1) for key in keys]
        return None if -1 in rows else self._features_ND[rows]

    def add(self, keys: Sequence[str], features_ND: np.ndarray) -> None:
        """Remember a chunk's features for the next evaluation of this process."""
        self._added[tuple(keys)] = features_ND

    def keep(self, definition: str, keys: Sequence[str], features_ND: np.ndarray) -> None:
        """Write features to the folder; warn where that fails.

        Args:
            definition: of the rank that computed the features, whose device may be of another kind than this one's.
        """
        out = io.BytesIO()
        np.savez(out, definition=np.array(definition), keys=np.array(keys), features=features_ND)
        try:
            with patient_for(AT_START):
                self.folder.write(_file(definition), out.getvalue())
        except (OSError, StorageError) as error:
            self.state += f"; not kept ({error})"
            logger.warning(f"features of real images are not kept in {self.folder.url}: {error}")


def _file(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()[:32] + ".npz"


class Distances(Family):
    """Compute distances between the features that one network sees in made and in real images."""

    def __init__(self, asked: Asked, network: Extractor, metrics: Mapping[str, Metric]) -> None:
        self.metrics, self.network, self.judging = metrics, network, asked.judging
        self.frechet, self.kernel, self.kernel_std = list(metrics)[:3]
        self.no_idle = no_idle(asked, (1, 3))
        side, source = side_of(asked), source_of(asked)
        self.real = self._kept(asked, side)
        self.inputs = None if self.no_idle or source == side else self._kept(asked, source)
        """Features of the input images, where they are other images than the real ones; of labelled data, a part of
        these."""
        self.of_mean = not asked.method.inputs
        """True where made images are measured beside the mean of the real ones, as no input could stay untouched."""
        self._found: dict[str, Any] = {}
        self._idle_of: tuple[bytes, dict[str, Measured]] = (b"", {})
        """Digest of the features that doing nothing was last scored on, and its scores."""

    def _kept(self, asked: Asked, side: str) -> RealFeatures:
        """Open the features of one side of the split."""
        definition = {
            "format": FORMAT,
            "data": asked.data.manifest.fingerprint,
            "split": asked.split,
            "side": side,
            "image_size": sides(asked.image_size),
            "most": asked.most,
            "network": self.network.facts,
            "device": asked.device.type,
        }
        if asked.resizing != Resizing():  # what was kept before there was a choice stays valid
            definition["resizing"] = asdict(asked.resizing)
        return RealFeatures(asked.judging.statistics, definition, self.network.dimensions)

    @property
    def judges(self) -> list[str]:
        return [name for name in self.metrics if not name.endswith(NOTHING)]

    def absent(self) -> dict[str, str]:
        if not self.no_idle:
            return {}
        kept = {f"{self.frechet}{NOTHING}"} if self.of_mean else set()
        return {name: self.no_idle for name in self.metrics if name.endswith(NOTHING) and name not in kept}

    def facts(self) -> dict[str, Any]:
        """Give the network and the files of features; after `result`, also numbers of images and subsets."""
        file = self.real.folder.at(self.real.file)
        return {**self.network.facts, "real_features": {"file": file, "state": self.real.state}, **self._found}

    def chunk(self, outputs: Outputs) -> dict[str, Any] | None:
        """Give `made`, `logits`, `real` and `inputs`, (n, D) float32 each where there are any; of the last two, where
        they are to be kept, the keys and, if they were not kept yet, the definition."""
        part: dict[str, Any] = {}
        if outputs.made is not None and len(outputs.made):
            part |= zip(("made", "logits"), (t.cpu().numpy() for t in self.network(outputs.made)), strict=False)
        if outputs.real is not None:
            part |= self._seen("real", self.real, outputs.keys, outputs.real)
            if self.of_mean:
                part["sum"] = outputs.real.double().sum(0).cpu()
        if outputs.source is not None and self.inputs:
            part |= self._seen("inputs", self.inputs, outputs.keys, outputs.source)
        elif "made" in part and "real" in part and not self.no_idle:
            chosen = outputs.chosen
            part["inputs"] = part["real"] if chosen is None else part["real"][chosen.cpu().numpy()]
        return part or None

    def _seen(self, name: str, kept: RealFeatures, keys: tuple[str, ...], x_BCHW: Tensor) -> dict[str, Any]:
        """Look up the features of stored images, or compute them."""
        found = kept.of(keys)
        if found is not None:
            return {name: found, f"{name} keys": keys}
        found = self.network(x_BCHW)[0].cpu().numpy()
        kept.add(keys, found)
        return {name: found, f"{name} keys": keys, f"{name} definition": kept.definition}

    def result(self, parts: Sequence[dict[str, Any]]) -> dict[str, Measured]:
        """Give the distances. Raise DataError when fewer than two images were made or read."""
        real, made, inputs = ([part[name] for part in parts if name in part] for name in ("real", "made", "inputs"))
        for found, what in ((real, "real images that could be read"), (made, "made images")):
            _enough(sum(map(len, found)), what, self.frechet)
        for name, kept in (("real", self.real), ("inputs", self.inputs)):
            new = [part[f"{name} definition"] for part in parts if f"{name} definition" in part]
            if kept and new:
                keys = [key for part in parts for key in part.get(f"{name} keys", ())]
                kept.keep(new[0], keys, np.concatenate(real if name == "real" else inputs))
        logits = [part["logits"] for part in parts if "logits" in part]
        y_MD = _together(real)
        measured = self._measured(_together(made), y_MD, _together(logits) if logits else None)
        if self.of_mean:
            measured |= self._of_mean(sum(part["sum"] for part in parts if "sum" in part) / len(y_MD), y_MD)
        return measured | (self._idle(_together(inputs), y_MD) if sum(map(len, inputs)) > 1 else {})

    def _measured(self, x_ND: np.ndarray, y_MD: np.ndarray, logits_NC: np.ndarray | None) -> dict[str, Measured]:
        judging, n, m = self.judging, len(x_ND), len(y_MD)
        size = min(judging.kid_subset_size, n, m)
        values = {self.frechet: frechet(x_ND, y_MD)}
        values[self.kernel], values[self.kernel_std] = kernel(x_ND, y_MD, judging.kid_subsets, size)
        if logits_NC is not None:
            values["is"], values["is_std"] = inception_score(logits_NC, min(judging.is_splits, n))
        self._found = self._sizes(n, m, size, logits_NC is not None)
        return {name: Measured(value, n) for name, value in values.items()}

    def _idle(self, x_ND: np.ndarray, y_MD: np.ndarray) -> dict[str, Measured]:
        """Measure the input images as if the method had made them; of the same images once, for they do not change in a
        training."""
        digest = hashlib.blake2b(x_ND.tobytes())
        digest.update(y_MD.tobytes())
        self._found["images"] |= {"inputs": len(x_ND)}
        if self._idle_of[0] != digest.digest():
            self._idle_of = digest.digest(), self._of_inputs(x_ND, y_MD)
        return self._idle_of[1]

    def _of_mean(self, mean_CHW: Tensor, y_MD: np.ndarray) -> dict[str, Measured]:
        """Measure the mean of the real images as if the method made it every time."""
        pair = mean_CHW.float()[None].expand(2, -1, -1, -1)
        x_2D = self.network(pair)[0].cpu().numpy().astype(np.float64)
        return {f"{self.frechet}{NOTHING}": Measured(frechet(x_2D, y_MD), len(y_MD))}

    def _of_inputs(self, x_ND: np.ndarray, y_MD: np.ndarray) -> dict[str, Measured]:
        n, size = len(x_ND), min(self.judging.kid_subset_size, len(x_ND), len(y_MD))
        values = {self.frechet: frechet(x_ND, y_MD), self.kernel: kernel(x_ND, y_MD, self.judging.kid_subsets, size)[0]}
        return {f"{name}{NOTHING}": Measured(value, n) for name, value in values.items()}

    def _sizes(self, n: int, m: int, size: int, scored: bool) -> dict[str, Any]:
        judging: EvaluationConfig = self.judging
        ratio = min(n, m) / self.network.dimensions
        facts: dict[str, Any] = {"images": {"made": n, "real": m}, "seed": SEED}
        facts[self.frechet] = {"images_per_dimension": round(ratio, 4)}
        if ratio < 1:
            facts[self.frechet]["warning"] = (
                f"{min(n, m):,} images; {self.network.dimensions:,} are needed, one for each dimension of the "
                "features: biased upward; compare it only with values of as many images"
            )
        facts[self.kernel] = {"subsets": judging.kid_subsets, "subset_size": size}
        if size < judging.kid_subset_size:
            facts[self.kernel]["warning"] = (
                f"{min(n, m):,} images; {judging.kid_subset_size:,} are needed for a subset: subsets are of {size:,}"
            )
        facts[self.kernel]["by"] = f"torch-fidelity {version('torch-fidelity')}"
        if scored:
            splits = min(judging.is_splits, n)
            facts["is"] = {"splits": splits, "images_per_split": n / splits}
        return facts


def _together(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.float64)
