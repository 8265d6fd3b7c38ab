"""What tests need to know of each method, a row a method: its figures, small sizes, what its demo must reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Found = dict[str, float]
"""Metrics of a demo, by name."""
Values = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """What is known of a method."""

    small: Values
    """Hyper-parameters that make it small: 16 px and a few channels, without batch norm and dropout, which see their
    worker's part and are exempt from what holds for any number of workers."""
    golden: Values
    """Sizes of its golden runs (`support/goldens.py`)."""
    figures: dict[str, tuple[Values, Values]]
    """By preset, what the paper or its code says, read once more from there: hyper-parameters; training and data."""
    learns: Callable[[Found], None]
    """Judges what its demo reached on held-out data."""
    abilities: tuple[str, ...] = ()
    """Which of `ABILITIES` it has."""
    critics: tuple[str, ...] = ("D",)
    """Its discriminators."""
    quick: Values = field(default_factory=dict)
    """Over `small`, where a test makes many updates."""


ABILITIES = ("codes", "encodes", "two_way", "several", "dropout_is_noise")
"""What a method's class may say it can do."""

# ---------------------------------------------------------------- what a demo must reach


def goes_to_the_target_and_back(found: Found) -> None:
    """Neither a generator that changes nothing nor one that ignores its input can pass."""
    for way in ("there", "back"):
        assert found[f"in_target_nothing/{way}"] < 0.2
        assert found[f"in_target/{way}"] > 0.7
    assert found["cycle"] < 0.04
    assert found["twin"] < 0.8 * found["twin_nothing"]


def forgets_its_input(found: Found) -> None:
    """Images of the target domain, but of something else: farther from the twin than the untouched input."""
    for way in ("there", "back"):
        assert found[f"in_target_nothing/{way}"] < 0.2
        assert found[f"in_target/{way}"] > 0.7
    assert found["cycle"] > 0.06
    assert found["twin"] > found["twin_nothing"]


def stays_near_its_input(found: Found) -> None:
    """A little of the way, and far from CycleGAN, which has 0.98 in the target domain and 0.58 of the distance left."""
    assert found["in_target_nothing/there"] + 0.05 < found["in_target/there"] < 0.7
    assert 0.7 * found["twin_nothing"] < found["twin"] < found["twin_nothing"]


def goes_both_ways_by_pairs(found: Found) -> None:
    """Images of the target domain; how near they are to the twin is what the search reaches."""
    for way in ("there", "back"):
        assert found[f"in_target/{way}"] > found[f"in_target_nothing/{way}"] + 0.3


def refines(found: Found) -> None:
    assert found["in_target_nothing/there"] < 0.1
    assert found["in_target/there"] > 0.7
    assert found["twin"] < 0.2 * found["twin_nothing"], "the refined glyph is not its own scan"


def makes_the_truth_among_many(found: Found) -> None:
    assert found["diversity"] > 0.08
    assert found["l1_best"] < 0.35 * found["l1_nothing"]
    assert found["ssim"] > found["ssim_nothing"] + 0.2


def encodes(found: Found) -> None:
    makes_the_truth_among_many(found)
    assert found["l1_encoded"] < 0.2 * found["l1_nothing"]


def collapses(found: Found) -> None:
    """What the paper reports of pix2pix+noise: close to the truth on average, and one output whatever the code."""
    assert found["l1"] < 0.5 * found["l1_nothing"]
    assert found["diversity"] < 0.03


def restores(found: Found) -> None:
    assert found["l1"] < 0.6 * found["l1_nothing"]
    assert found["ssim"] > found["ssim_nothing"]


def takes_on_attributes(found: Found) -> None:
    assert found["accuracy/bold"] > found["accuracy_nothing/bold"] + 0.5
    assert found["accuracy"] > found["accuracy_nothing"] + 0.2
    assert found["there_and_back"] < 0.06


def makes_what_looks_real(found: Found) -> None:
    """Nearer to the real images than a quarter of the way from their mean, which has no features of any of them."""
    assert found["efficientnet_frechet"] < 0.25 * found["efficientnet_frechet_nothing"]
    assert found["diversity"] > 0.05


def makes_its_class(found: Found) -> None:
    assert found["accuracy_real"] > 0.95
    assert found["accuracy"] > 0.9
    assert found["efficientnet_frechet"] < 0.5 * found["efficientnet_frechet_nothing"]


# ---------------------------------------------------------------- figures that several methods share

ADAM = {"optimiser": "adam", "beta1": 0.5, "beta2": 0.999, "lr": 2e-4, "image_size": 256}
FAMILY = {**ADAM, "g_base": 64, "d_base": 64, "n_critic": 1, "real_target": 1.0}
PIX2PIX = {**FAMILY, "adversarial": "nonsaturating", "objective": "L1+cGAN", "lambda_l1": 100.0, "norm": "batch"}
PIX2PIX |= {"receptive_field": 70, "dropout": 0.5, "generator": "unet", "g_downs": 8}
CYCLEGAN = {**FAMILY, "adversarial": "lsgan", "lambda_gan": 1.0, "lambda_cyc": 10.0, "cycles": "both", "pool_size": 50}
CYCLEGAN |= {"g_blocks": 9, "receptive_field": 70, "norm": "instance", "upsample": "transposed"}
COMPARED = {**FAMILY, "image_size": 128, "adversarial": "lsgan", "pool_size": 50, "g_blocks": 6}
COMPARED |= {"receptive_field": 70, "norm": "instance", "upsample": "transposed"}
FEATURES = {"lambda_perceptual": 10.0, "perceptual": "vgg16", "perceptual_input": "caffe", "perceptual_size": 224}
SIMGAN = {**ADAM, "adversarial": "nonsaturating", "lr": 1e-3, "image_size": (35, 55), "psi": "identity"}
SIMGAN |= {"lambda_reg": 1e-4, "warmup_r": 1000, "warmup_d": 200, "k_g": 2, "k_d": 1, "blocks": 4, "form": "eyes"}
UNIT = {**FAMILY, "lr": 1e-4, "weight_decay": 1e-4, "architecture": "paper", "adversarial": "nonsaturating"}
UNIT |= {"kl_of": "mean", "g_noise": "shared", "lambda_perceptual": 0.0}
UNIT |= {"lambda_gan": 10.0, "lambda_rec": 100.0, "lambda_kl": 0.1, "lambda_cyc": 100.0, "lambda_cyc_kl": 0.1}
LATER = {**UNIT, "architecture": "later", "adversarial": "lsgan", "d_scales": 3, "g_noise": "own"}
LATER |= {"lambda_gan": 1.0, "lambda_rec": 10.0, "lambda_kl": 0.01, "lambda_cyc": 10.0, "lambda_cyc_kl": 0.01}
MULTIMODAL = {**FAMILY, "adversarial": "lsgan", "z_dim": 8, "z_at": "all", "norm": "instance", "conditional_d": False}
MULTIMODAL |= {"d_layers": 3, "g_downs": 8, "upsample": "transposed", "dropout": 0.0}
DROPS = {"dropout": 0.5}
ENCODED = {**MULTIMODAL, "e_base": 64, "blocks": 4}
STARGAN = {**FAMILY, "image_size": 128, "adversarial": "wgan-gp", "lambda_gp": 10.0, "n_critic": 5, "lambda_cls": 1.0}
STARGAN |= {"lambda_rec": 10.0, "lambda_id": 0.0, "blocks": 6, "d_layers": 6, "g_lr": 1e-4, "d_lr": 1e-4}
STARGAN.pop("lr")

DCGAN = {**FAMILY, "image_size": 64, "adversarial": "nonsaturating", "z_dim": 100, "kernel": 4, "prior": "normal"}
DCGAN |= {"g_norm": "batch", "d_norm": "batch", "biases": False, "g_noise": "shared", "burst": 0}
GAN = {"image_size": 28, "adversarial": "nonsaturating", "optimiser": "sgd", "lr": 0.1, "beta1": 0.5, "z_dim": 100}
GAN |= {"prior": "uniform", "g_units": 1200, "d_units": 240, "dropout": 0.5, "n_critic": 1, "g_noise": "own"}
FALLS = {"batch": 100, "lr_schedule": "steps", "lr_step": 100, "epochs": 250}
WGAN = {**DCGAN, "adversarial": "wgan", "optimiser": "rmsprop", "lr": 5e-5, "clip": 0.01, "n_critic": 5}
WGAN |= {"g_noise": "own", "burst": 100, "burst_until": 25, "burst_every": 500, "clip_at": "after"}
WGAN_GP = {**DCGAN, "adversarial": "wgan-gp", "lambda_gp": 10.0, "n_critic": 5, "lr": 1e-4, "beta1": 0.0, "beta2": 0.9}
WGAN_GP |= {"g_noise": "own", "z_dim": 128, "d_norm": "layer"}

COGAN = {**ADAM, "image_size": 128, "adversarial": "nonsaturating", "z_dim": 100, "prior": "uniform", "g_base": 32}
COGAN |= {"d_base": 32, "weight_decay": 1e-4, "n_critic": 1, "d_batch": "apart", "starts": 10, "iterations": 200}
COGAN |= {"g_norm": "batch", "d_norm": "batch", "dropout": True}
COGAN_LONG = {"batch": 128, "images": 100_000 * 128, "load_size": 132, "crop": "random", "flip": True}

CROPS = {"load_size": 286, "crop": "random", "flip": True, "batch": 1}
EPOCHS = {**CROPS, "lr_schedule": "epochs", "lr_decay_from": 0.5}

COMPARED_EPOCHS = {**EPOCHS, "load_size": 143, "epochs": 200}

UNPAIRED_SMALL = {"image_size": 16, "g_base": 4, "d_base": 4, "blocks": 1, "receptive_field": 16, "pool_size": 10}
UNPAIRED_GOLDEN = {"image_size": 32, "g_base": 4, "d_base": 4, "blocks": 1, "pool_size": 10}
MULTIMODAL_SMALL = {"dropout": 0.0, "image_size": 16, "g_base": 4, "d_base": 4, "d_layers": 1, "z_dim": 3}

TABLE: dict[str, Row] = {
    "stargan": Row(
        small={
            "image_size": 16,
            "channels": 1,
            "c_dim": 3,
            "n_critic": 2,
            "g_base": 4,
            "d_base": 4,
            "d_layers": 3,
            "blocks": 1,
        },
        golden={"image_size": 32, "channels": 3, "c_dim": 3, "g_base": 4, "d_base": 4, "d_layers": 3, "blocks": 1},
        figures={
            "paper": (
                STARGAN,
                {"batch": 16, "lr_schedule": "linear", "lr_decay_from": 0.5, "lr_final": 0.0}
                | {"resample": "bilinear", "crop": "none"},
            ),
            "reference": (
                STARGAN,
                {"batch": 16, "images": 200_000 * 16, "flip": True, "lr_final": 0.999}
                | {"resample": "bilinear", "crop": "none"},
            ),
        },
        learns=takes_on_attributes,
        abilities=("several",),
        quick={"d_layers": 2},
    ),
    "pix2pix": Row(
        small={"image_size": 16, "g_base": 4, "d_base": 4, "receptive_field": 16, "norm": "instance", "dropout": 0.0},
        golden={"image_size": 32, "g_base": 4, "d_base": 4},
        figures={
            "paper": ({**PIX2PIX, "dropout_at": "innermost"}, {**CROPS, "epochs": 200, "lr_schedule": "constant"}),
            "reference": ({**PIX2PIX, "dropout_at": "after_innermost"}, {**EPOCHS, "epochs": 200}),
        },
        learns=restores,
        abilities=("dropout_is_noise",),
    ),
    "cyclegan": Row(
        small=UNPAIRED_SMALL,
        golden=UNPAIRED_GOLDEN,
        figures={
            "paper": ({**CYCLEGAN, "lambda_id": 0.0}, {**EPOCHS, "epochs": 200}),
            "reference": ({**CYCLEGAN, "lambda_id": 0.5}, {**EPOCHS, "epochs": 200}),
        },
        learns=goes_to_the_target_and_back,
        abilities=("two_way",),
        critics=("D_X", "D_Y"),
    ),
    "bigan": Row(
        small=UNPAIRED_SMALL,
        golden=UNPAIRED_GOLDEN,
        figures={
            "paper": ({**COMPARED, "halve_d": True}, COMPARED_EPOCHS),
            "reference": ({**COMPARED, "halve_d": False}, COMPARED_EPOCHS),
        },
        learns=forgets_its_input,
        abilities=("two_way",),
    ),
    "pixel_gan": Row(
        small=UNPAIRED_SMALL,
        golden=UNPAIRED_GOLDEN,
        figures={
            "paper": ({**COMPARED, "lambda_l1": 10.0, "halve_d": True}, COMPARED_EPOCHS),
            "reference": ({**COMPARED, "lambda_l1": 10.0, "halve_d": False}, COMPARED_EPOCHS),
        },
        learns=stays_near_its_input,
    ),
    "feature_gan": Row(
        small={**UNPAIRED_SMALL, "lambda_perceptual": 0.0},
        golden={**UNPAIRED_GOLDEN, "perceptual": "efficientnet_lite0", "perceptual_size": 32},
        figures={
            "paper": ({**COMPARED, **FEATURES, "halve_d": True}, COMPARED_EPOCHS),
            "reference": ({**COMPARED, **FEATURES, "halve_d": False}, COMPARED_EPOCHS),
        },
        learns=stays_near_its_input,
    ),
    "cogan": Row(
        small={"image_size": 16, "g_base": 3, "d_base": 2, "z_dim": 3, "g_norm": "none", "d_norm": "none"}
        | {"dropout": False, "starts": 2, "iterations": 3},
        golden={"image_size": 16, "g_base": 3, "d_base": 2, "z_dim": 5},
        figures={
            "paper": (COGAN, COGAN_LONG),
            "reference": ({**COGAN, "d_batch": "mixed"}, COGAN_LONG),
            "digits": (
                {**COGAN, "architecture": "digits", "image_size": 28, "prior": "normal", "weight_decay": 5e-4},
                {"batch": 64, "images": 5_000 * 64},
            ),
        },
        learns=goes_both_ways_by_pairs,
        abilities=("two_way",),
        critics=("D1", "D2"),
    ),
    "simgan": Row(
        small={
            "image_size": (12, 16),
            "r_base": 4,
            "d_base": 12,
            "blocks": 1,
            "history_size": 10,
            "warmup_r": 1,
            "warmup_d": 1,
            "k_g": 2,
        },
        golden={
            "image_size": (20, 28),
            "r_base": 4,
            "d_base": 12,
            "blocks": 1,
            "history_size": 20,
            "warmup_r": 2,
            "warmup_d": 2,
        },
        figures={
            "paper": (SIMGAN, {"batch": 512, "flip": False, "crop": "none"}),
            "paper_hands": (
                {**SIMGAN, "form": "hands", "first_kernel": 7, "blocks": 10, "image_size": 224} | {"warmup_r": 500},
                {"flip": False, "crop": "none"},
            ),
            "reference": ({**SIMGAN, "k_g": 50}, {"batch": 512}),
        },
        learns=refines,
        quick={"k_g": 1},
    ),
    "unit": Row(
        small={
            "image_size": 16,
            "channels": 1,
            "g_base": 4,
            "d_base": 4,
            "blocks": 1,
            "d_layers": 2,
            "architecture": "paper",
            "g_noise": "shared",
        },
        golden={"image_size": 32, "g_base": 4, "d_base": 4, "blocks": 1, "d_layers": 2},
        figures={
            "paper": (UNIT, {"images": 500_000, "batch": 1, "lr_schedule": "constant"}),
            "reference_2017": ({**UNIT, "kl_of": "code"}, {"images": 500_000, "batch": 1, "lr_schedule": "constant"}),
            "reference": (
                LATER,
                {"images": 1_000_000, "batch": 1, "lr_schedule": "steps", "lr_step": 100_000}
                | {"lr_step_factor": 0.5, "fit": "shorter", "resample": "bilinear", "load_size": 0}
                | {"crop": "random", "flip": True},
            ),
        },
        learns=goes_to_the_target_and_back,
        abilities=("two_way",),
        critics=("D1", "D2"),
    ),
    "pix2pix_noise": Row(
        small={**MULTIMODAL_SMALL},
        golden={"image_size": 32, "g_base": 4, "d_base": 4, "d_layers": 2},
        figures={
            "paper": ({**MULTIMODAL, "lambda_l1": 10.0}, CROPS),
            "reference": ({**MULTIMODAL, **DROPS, "lambda_l1": 10.0}, EPOCHS),
        },
        learns=collapses,
        abilities=("codes",),
    ),
    "cvae_gan": Row(
        small={**MULTIMODAL_SMALL, "e_base": 4, "e_blocks": 1},
        golden={"image_size": 32, "g_base": 4, "d_base": 4, "d_layers": 2, "e_base": 4, "e_blocks": 1},
        figures={
            "paper": ({**ENCODED, "lambda_l1": 10.0, "lambda_kl": 0.01}, CROPS),
            "reference": ({**ENCODED, **DROPS, "lambda_l1": 10.0, "lambda_kl": 0.01}, EPOCHS),
        },
        learns=encodes,
        abilities=("codes", "encodes"),
    ),
    "clr_gan": Row(
        small={**MULTIMODAL_SMALL, "e_base": 4, "e_blocks": 1},
        golden={"image_size": 32, "g_base": 4, "d_base": 4, "d_layers": 2, "e_base": 4, "e_blocks": 1},
        figures={
            "paper": ({**ENCODED, "lambda_latent": 0.5}, CROPS),
            "reference": ({**ENCODED, **DROPS, "lambda_latent": 0.5}, EPOCHS),
        },
        learns=makes_the_truth_among_many,
        abilities=("codes", "encodes"),
    ),
    "bicyclegan": Row(
        small={**MULTIMODAL_SMALL, "e_base": 4, "e_blocks": 1},
        golden={"image_size": 32, "g_base": 4, "d_base": 4, "d_layers": 2, "e_base": 4, "e_blocks": 1},
        figures={
            "paper": ({**ENCODED, "lambda_l1": 10.0, "lambda_latent": 0.5, "lambda_kl": 0.01}, CROPS),
            "reference": ({**ENCODED, **DROPS, "lambda_l1": 10.0, "lambda_latent": 0.5}, EPOCHS),
        },
        learns=encodes,
        abilities=("codes", "encodes"),
        critics=("D", "D2"),
    ),
    "dcgan": Row(
        small={"image_size": 16, "channels": 1, "g_base": 4, "d_base": 4, "z_dim": 3, "g_norm": "none"}
        | {"d_norm": "layer"},
        golden={"image_size": 16, "channels": 1, "g_base": 4, "d_base": 4, "z_dim": 5},
        figures={
            "paper": (
                {**DCGAN, "kernel": 5, "g_base": 128, "d_base": 128, "prior": "uniform"},
                {"batch": 128, "epochs": 25, "batch_norm": "global"},
            ),
            "reference": (DCGAN, {"batch": 64, "epochs": 25, "batch_norm": "global"}),
            "wgan": (WGAN, {"batch": 64}),
            "wgan_reference": ({**WGAN, "clip_at": "before"}, {"batch": 64}),
            "wgan_gp": (WGAN_GP, {"batch": 64, "images": 200_000 * 5 * 64}),
            "wgan_gp_reference": (
                {**WGAN_GP, "image_size": 32, "kernel": 5, "g_base": 128, "d_base": 128, "d_norm": "none"}
                | {"biases": True, "beta1": 0.5},
                {"batch": 64},
            ),
        },
        learns=makes_what_looks_real,
        abilities=("codes",),
    ),
    "gan": Row(
        small={"image_size": 16, "channels": 1, "g_units": 12, "d_units": 6, "z_dim": 3, "dropout": 0.0}
        | {"input_dropout": 0.0},
        golden={"image_size": 8, "channels": 1, "g_units": 12, "d_units": 6, "z_dim": 5},
        figures={
            "paper": ({**GAN, "input_dropout": 0.2, "pieces": 5}, {**FALLS, "lr_step_factor": 1 / 1.000004}),
            "reference": (
                {**GAN, "input_dropout": 0.2, "pieces": 5, "g_noise": "shared"},
                {**FALLS, "lr_step_factor": 1 / 1.000004},
            ),
        },
        learns=makes_what_looks_real,
        abilities=("codes",),
    ),
    "cgan": Row(
        small={"image_size": 16, "channels": 1, "c_dim": 3, "g_units": 12, "d_units": 12, "z_dim": 3, "dropout": 0.0},
        golden={"image_size": 8, "channels": 1, "c_dim": 3, "g_units": 12, "d_units": 12, "z_dim": 5},
        figures={
            "paper": (GAN, {**FALLS, "lr_step_factor": 1 / 1.00004}),
            "reference": (
                {**GAN, "optimiser": "adam", "lr": 2e-4, "g_noise": "shared"},
                {"batch": 100, "lr_schedule": "constant", "epochs": 250},
            ),
        },
        learns=makes_its_class,
        abilities=("codes",),
    ),
}
