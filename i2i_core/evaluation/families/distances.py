"""How far the made images, taken together, are from real ones: Fréchet and kernel distances between their features, and
Inception Score.

x_ND, y_MD: features of N made and M real images, each D numbers; computed in float64.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.errors import DataError
from i2i_core.evaluation.samples import Asked, Family, Measured, Metric, Outputs, check_channels, side_of
from i2i_core.images.arrays import read_npz
from i2i_core.pretrained.backbones import EfficientNet, Extractor, Inception
from i2i_core.sizes import Resizing, sides
from i2i_core.storage.folder import Folder
from i2i_core.storage.retry import AT_START, StorageError, patient_for

logger = logging.getLogger(__name__)

SEED = 2020
"""Of KID's subsets and of the order that Inception Score splits; torch-fidelity's own."""
FORMAT = 1
"""Of the files of real features."""

_FRECHET = "Frechet distance between made and real images, |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)), of the means and "
_KERNEL = "kernel distance between made and real images: the unbiased MMD^2 with the kernel (x.y / D + 1)^3 "
_KERNEL_OVER = ", mean over random subsets of the images (Binkowski et al. 2018)"

INCEPTION = {
    "fid": Metric(
        "lower", _FRECHET + "covariances of their 2048 Inception features (Heusel et al. 2017, eq. 6); biased upward "
        "when images are few"
    ),
    "kid": Metric("lower", _KERNEL + "of their 2048 Inception features" + _KERNEL_OVER + ", by torch-fidelity"),
    "kid_std": Metric("lower", "standard deviation of kid over those subsets"),
    "is": Metric(
        "higher", "Inception Score of the made images, exp(mean KL(p(y|x) || p(y))), mean over parts of them (Salimans "
        "et al. 2016), by torch-fidelity; knows no real images"
    ),
    "is_std": Metric("lower", "standard deviation of is over those parts"),
}  # fmt: skip
EFFICIENTNET = {
    "efficientnet_frechet": Metric(
        "lower", _FRECHET + "covariances of their 1280 features of EfficientNet-lite0; not comparable with any fid"
    ),
    "efficientnet_kernel": Metric(
        "lower", _KERNEL + "of their 1280 features of EfficientNet-lite0" + _KERNEL_OVER + "; not comparable with any "
        "kid"
    ),
    "efficientnet_kernel_std": Metric("lower", "standard deviation of efficientnet_kernel over those subsets"),
}  # fmt: skip


def build_inception(asked: Asked) -> Family:
    """INCEPTION's metrics.

    Raises:
        DataError: images that are neither grey nor RGB, fewer than two of them, no such split.
        ConfigError: the network's weights are not there.
    """
    _check(asked, "fid, kid and is")
    return Distances(asked, Inception(asked.judging.inception, asked.device), INCEPTION)


def build_efficientnet(asked: Asked) -> Family:
    """EFFICIENTNET's metrics. Raises as `build_inception`."""
    _check(asked, "efficientnet_frechet and efficientnet_kernel")
    return Distances(asked, EfficientNet(asked.device), EFFICIENTNET)


def _check(asked: Asked, metrics: str) -> None:
    """Raises DataError."""
    check_channels(asked, metrics)
    data, most = asked.data, asked.most
    for domain in data.manifest.domains:
        n = data.shard_set(asked.split, domain).samples
        _enough(min(n, most) if most else n, f"split {asked.split!r} of {data.uri}", metrics)


def _enough(n: int, where: str, metrics: str) -> None:
    if n < 2:
        fix = f"Measure more images, or leave {metrics} out."
        raise DataError(where, f"{n} image{'' if n == 1 else 's'} to measure", f"2 or more for {metrics}", fix)


def frechet(x_ND: np.ndarray, y_MD: np.ndarray) -> float:
    """Squared Fréchet distance between the normal distributions with the features' means and covariances (Heusel et
    al. 2017, eq. 6).

    With R'R = S, a QR decomposition of the centred features, the trace of (S S')^(1/2) is the sum of the singular
    values of R R'^T. That is exact for few images too, where S S' is singular and its computed eigenvalues, whose
    roots torch-fidelity sums, are rounding errors; and it then takes a small part of the time.
    """
    x, y = _root(x_ND), _root(y_MD)
    apart = np.square(x_ND.mean(axis=0) - y_MD.mean(axis=0)).sum()
    return float(apart + np.square(x).sum() + np.square(y).sum() - 2 * np.linalg.norm(x @ y.T, ord="nuc"))


def _root(x_ND: np.ndarray) -> np.ndarray:
    """R, (min(N, D), D), with R'R the covariance."""
    return np.asarray(np.linalg.qr((x_ND - x_ND.mean(axis=0)) / np.sqrt(len(x_ND) - 1), mode="r"))


def kernel(x_ND: np.ndarray, y_MD: np.ndarray, subsets: int, size: int) -> tuple[float, float]:
    """Kernel distance: its mean and standard deviation over random subsets of `size` images of each."""
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric  # late: slow

    x, y = torch.from_numpy(x_ND), torch.from_numpy(y_MD)
    found = kid_features_to_metric(x, y, kid_subsets=subsets, kid_subset_size=size, rng_seed=SEED, verbose=False)
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD]


def inception_score(logits_NC: np.ndarray, splits: int) -> tuple[float, float]:
    """Inception Score: its mean and standard deviation over `splits` parts of the shuffled images."""
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric  # late: slow

    found = isc_features_to_metric(torch.from_numpy(logits_NC), splits, shuffle=True, rng_seed=SEED)
    return found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]


class RealFeatures:
    """Features of a split's real images: computed once, then read from a folder.

    The file's name is made of the definition (data, split, side, size, network); it holds the definition as well, and
    is used only where both agree.

    Attributes:
        state: what became of the file, in words.
    """

    def __init__(self, folder: str, definition: Mapping[str, Any], dimensions: int) -> None:
        self.folder = Folder(folder or _cache())
        self.definition = json.dumps(definition, sort_keys=True)
        self.file = _file(self.definition)
        self.state = "computed"
        self._row: dict[str, int] = {}
        self._features_ND = np.empty((0, dimensions), np.float32)
        self._added: dict[tuple[str, ...], np.ndarray] = {}
        """Of chunks that this process computed, by their keys."""
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
        """(n, D), the features of those images; None unless all were kept."""
        if (added := self._added.get(tuple(keys))) is not None:
            return added
        rows = [self._row.get(key, -1) for key in keys]
        return None if -1 in rows else self._features_ND[rows]

    def add(self, keys: Sequence[str], features_ND: np.ndarray) -> None:
        """Remembers a chunk's features for the next time, in this process."""
        self._added[tuple(keys)] = features_ND

    def keep(self, definition: str, keys: Sequence[str], features_ND: np.ndarray) -> None:
        """Writes features to the folder. What cannot be written is said.

        Args:
            definition: of the worker that computed them, whose device may be of another kind than this one's.
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


def _cache() -> str:
    """The user's folder for what can be computed again."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "i2i" / "real-features")


class Distances(Family):
    """Distances between the features that one network sees in made and in real images."""

    def __init__(self, asked: Asked, network: Extractor, metrics: Mapping[str, Metric]) -> None:
        self.metrics, self.network, self.judging = metrics, network, asked.judging
        self.frechet, self.kernel, self.kernel_std = list(metrics)[:3]
        definition = {
            "format": FORMAT,
            "data": asked.data.manifest.fingerprint,
            "split": asked.split,
            "side": side_of(asked),
            "image_size": sides(asked.image_size),
            "most": asked.most,
            "network": network.facts,
            "device": asked.device.type,
        }
        if asked.resizing != Resizing():  # what was kept before there was a choice stays valid
            definition["resizing"] = asdict(asked.resizing)
        self.real = RealFeatures(asked.judging.statistics, definition, network.dimensions)
        self._found: dict[str, Any] = {}

    def facts(self) -> dict[str, Any]:
        """After `result`, numbers of images and subsets too."""
        file = self.real.folder.at(self.real.file)
        return {**self.network.facts, "real_features": {"file": file, "state": self.real.state}, **self._found}

    def chunk(self, outputs: Outputs) -> dict[str, Any] | None:
        """`made`, `logits` and `real`, (n, D) float32 each where there are any; `keys` of the real ones; of what, if
        they were not kept yet, the `definition`."""
        part: dict[str, Any] = {}
        if outputs.made is not None and len(outputs.made):
            part |= zip(("made", "logits"), (t.cpu().numpy() for t in self.network(outputs.made)), strict=False)
        if outputs.real is not None:
            kept = self.real.of(outputs.keys)
            real = self.network(outputs.real)[0].cpu().numpy() if kept is None else kept
            part |= {"real": real, "keys": outputs.keys}
            if kept is None:
                self.real.add(outputs.keys, real)
                part["definition"] = self.real.definition
        return part or None

    def result(self, parts: Sequence[dict[str, Any]]) -> dict[str, Measured]:
        """Raises DataError when fewer than two images were made or read."""
        real, made = ([part[name] for part in parts if name in part] for name in ("real", "made"))
        for found, what in ((real, "real images that could be read"), (made, "made images")):
            _enough(sum(map(len, found)), what, self.frechet)
        if new := [part["definition"] for part in parts if "definition" in part]:
            keys = [key for part in parts for key in part.get("keys", ())]
            self.real.keep(new[0], keys, np.concatenate(real))
        logits = [part["logits"] for part in parts if "logits" in part]
        return self._measured(_together(made), _together(real), _together(logits) if logits else None)

    def _measured(self, x_ND: np.ndarray, y_MD: np.ndarray, logits_NC: np.ndarray | None) -> dict[str, Measured]:
        judging, n, m = self.judging, len(x_ND), len(y_MD)
        size = min(judging.kid_subset_size, n, m)
        values = {self.frechet: frechet(x_ND, y_MD)}
        values[self.kernel], values[self.kernel_std] = kernel(x_ND, y_MD, judging.kid_subsets, size)
        if logits_NC is not None:
            values["is"], values["is_std"] = inception_score(logits_NC, min(judging.is_splits, n))
        self._found = self._sizes(n, m, size, logits_NC is not None)
        return {name: Measured(value, n) for name, value in values.items()}

    def _sizes(self, n: int, m: int, size: int, scored: bool) -> dict[str, Any]:
        judging: EvaluationConfig = self.judging
        ratio = min(n, m) / self.network.dimensions
        facts: dict[str, Any] = {"images": {"made": n, "real": m}, "seed": SEED}
        facts[self.frechet] = {"images_per_dimension": round(ratio, 4)}
        if ratio < 1:
            facts[self.frechet]["warning"] = (
                f"fewer images than the {self.network.dimensions} dimensions of the features: biased upward; compare "
                "only with values of as many images"
            )
        facts[self.kernel] = {"subsets": judging.kid_subsets, "subset_size": size}
        if size < judging.kid_subset_size:
            facts[self.kernel]["warning"] = f"there are not {judging.kid_subset_size} images for a subset"
        facts[self.kernel]["by"] = f"torch-fidelity {version('torch-fidelity')}"
        if scored:
            splits = min(judging.is_splits, n)
            facts["is"] = {"splits": splits, "images_per_split": n / splits}
        return facts


def _together(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.float64)
