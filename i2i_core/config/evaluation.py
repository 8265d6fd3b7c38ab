"""What is measured, and how networks make images for it: sections that train.py shares with evaluate.py and
translate.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from i2i_core.settings import check_at_least, check_choice, flag, setting
from i2i_core.storage.paths import absolute


@dataclass(frozen=True)
class AtTestOptions:
    """Say how networks with batch norm or dropout make images: in translations, evaluations and grids."""

    test_norm: Literal["auto", "image", "running"] = setting("auto", resume="free")
    """Statistics that batch norm uses when images are made. image: each image's own, as in training with one image a
    normalisation; running: the running statistics of training. auto: what the run was given, else `image` if at least
    half of the images that it trained on were normalised alone (--batch / --workers / --micro-batch is 1), else
    `running`."""
    test_dropout: Literal["auto", "on", "off"] = setting("auto", resume="free")
    """Dropout when images are made; each image's mask is seeded by its name. auto: what the run was given, else `on`
    for methods whose noise is dropout (pix2pix), `off` for all others."""

    def __post_init__(self) -> None:
        check_choice(self, "test_norm", ("auto", "image", "running"))
        check_choice(self, "test_dropout", ("auto", "on", "off"))


@dataclass(frozen=True)
class EvaluationConfig:
    """Say what is measured, and with which networks' files it is judged."""

    metrics: tuple[str, ...] = setting((), resume="free")
    """Metrics, or families of them (docs/evaluation.md lists both), besides `basic`, which needs no network of others
    and is always measured; a metric brings its family."""
    classifier: str = setting("", resume="free")
    """File of a classifier of real images that evaluate.py trained, to judge translations of labelled or unpaired
    data."""
    inception: str = setting("", resume="free")
    """File of the Inception weights of FID, KID and Inception Score; none: the standard ones, fetched once."""
    lpips_network: Literal["alex", "vgg"] = setting("alex", resume="free")
    """Network of LPIPS."""
    lpips_weights: str = setting("", resume="free")
    """File of that network's ImageNet weights, as torchvision names them; none: fetched once."""
    segmentation: str = setting("", resume="free")
    """File of a torchvision segmentation network that reads photos, for `fcn` of label -> photo."""
    palette: str = setting("cityscapes", resume="free")
    """Colours of the classes of label images: `cityscapes`, or a JSON file (docs/evaluation.md)."""
    label_side: Literal["auto", "a", "b"] = setting("auto", resume="free")
    """Which side of the pairs holds the label images of `fcn`; auto: the one whose pixels lie near the palette's
    colours."""
    segmentation_height: int = setting(0, resume="free")
    """Pixels of height that photos are resized to for that network; 0: as they are."""
    kid_subsets: int = setting(100, resume="free")
    """Random subsets that KID is the mean over."""
    kid_subset_size: int = setting(1000, resume="free")
    """Images in each; at most as many as there are."""
    is_splits: int = setting(10, resume="free")
    """Parts that Inception Score is the mean over."""
    statistics: str = setting("", resume="free")
    """Folder where features of real images are kept, to be used again; none: the user's cache."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "kid_subsets", "is_splits")
        check_at_least(self, 2, "kid_subset_size")
        check_at_least(self, 0, "segmentation_height")
        check_choice(self, "lpips_network", ("alex", "vgg"))
        check_choice(self, "label_side", ("auto", "a", "b"))


def located(evaluation: EvaluationConfig) -> EvaluationConfig:
    """Make the paths of files absolute: workers have folders of their own. Raise ConfigError as `absolute`."""
    names = ["classifier", "inception", "lpips_weights", "segmentation", "statistics"]
    names += ["palette"] if evaluation.palette != "cityscapes" else []
    files: dict[str, Any] = {name: absolute(getattr(evaluation, name), flag(name)) for name in names}
    return replace(evaluation, **files)
