"""Convert weights that the papers' own programs saved into our networks: `--init-from authors:FILE`.

Reads files of pix2pix and CycleGAN (pytorch-CycleGAN-and-pix2pix), BicycleGAN and StarGAN. A `Layout` recognises one of
the authors' networks in a file, reads its sizes, and maps our layers to theirs; a `NetworkHere` describes this run's
network, and the flag that chooses each of its sizes. See docs/authors_weights.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from i2i_core.checkpoints.fitting import compare, layer_of
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.methods.base import Method
from i2i_core.networks.shapes import STRIDED_LAYERS
from i2i_core.sizes import said as said_size
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import absolute
from i2i_core.storage.remote import storage_of
from i2i_core.tensors import loaded

PREFIX = "authors:"
RUNNING = ("running_mean", "running_var", "num_batches_tracked")
DOCS = "docs/authors_weights.md lists the files that can be read."
FORM = "authors:FILE,FILE or authors:NETWORK=FILE,NETWORK=FILE"
State = Mapping[str, Tensor]
Sizes = dict[str, int | str]
"""Sizes that a network was built with, by the keys of WORDS."""
WORDS = {
    "planes": "{} input channels",
    "out_channels": "{} output channels",
    "base": "{} channels in the first layer",
    "downs": "{} downs",
    "blocks": "{} residual blocks",
    "layers": "{} stride-2 layers",
    "scales": "{} scales",
    "norm": "{} norm",
    "upsample": "{} upsampling",
    "skips": "{} skips",
    "z_at": "the code at {}",
    "z_dim": "a code of {}",
    "variance": "{} a head for the code's variance",
    "c_dim": "{} attributes",
    "labels": "a label vector of {}",
    "image_size": "images of {} px",
}


@dataclass(frozen=True)
class Layout:
    """Describe one of the authors' networks by the tensors in its state file."""

    words: str
    """The network in words, for messages."""
    seen: Callable[[State], bool]
    """Tells if a state file holds this network."""
    sizes: Callable[[State], Sizes]
    """Reads the network's sizes off the tensors; raises KeyError naming a tensor that is missing or of another rank."""
    layers: Callable[[State, Sizes], dict[str, str]]
    """Maps our layers to theirs."""


@dataclass(frozen=True)
class NetworkHere:
    """Describe a network of this run, and what can be loaded into it."""

    layouts: tuple[Layout, ...]
    """The authors' networks that it can be filled from."""
    sizes: dict[str, tuple[int | str, Callable[[Any], str]]]
    """Each size that it was built with, and a function that names the flag for another value."""
    upper_first: bool = False
    """The authors' up-blocks read [the block below, skip]; ours read [skip, the block below]."""


@dataclass(frozen=True)
class ConvertedFile:
    """Hold one converted file: its tensors under our names."""

    network: str
    """Our network that they belong to."""
    uri: str
    words: str
    """The authors' network, in words."""
    tensors: dict[str, Tensor]
    dropped: int
    """Number of running statistics of instance norms that were dropped, since nothing uses them."""


# ---------------------------------------------------------------------------------------------------------------------
# The authors' layouts
# ---------------------------------------------------------------------------------------------------------------------


def _size(state: State, name: str, dim: int) -> int:
    if state[name].ndim <= dim:
        raise KeyError(name)
    return state[name].shape[dim]


def _numbers(state: State, pattern: str) -> list[int]:
    """Collect the numbers that a pattern's group takes over all names, ascending."""
    return sorted({int(m[1]) for m in (re.fullmatch(pattern, name) for name in state) if m})


def _norm(state: State, layer: str) -> str:
    return "batch" if f"{layer}.weight" in state else "instance"


def _blocks_inside(state: State, first: str, inner: str, convolution: str) -> list[str]:
    """Find the prefixes of a nested U-Net's blocks below the outermost, outer ones first."""
    found, prefix = [], first
    while f"{prefix}{convolution}.weight" in state:
        found.append(prefix)
        prefix += inner
    if not found:
        raise KeyError(f"{first}{convolution}.weight")
    return found


def _unet_layers(down: str, up: str, inside: Sequence[tuple[str, str, str, str]]) -> dict[str, str]:
    """Map our layers to theirs: the outermost convolutions, then (down, its norm, up, its norm) of each inner block."""
    last = len(inside)
    layers = {"downs.0": down, f"ups.{last}.1": up}
    for i, (down, down_norm, up, up_norm) in enumerate(inside, start=1):
        layers |= {f"downs.{i}.1": down, f"downs.{i}.2": down_norm}
        layers |= {f"ups.{last - i}.1": up, f"ups.{last - i}.2": up_norm}
    return layers


def _nested_blocks(state: State) -> list[str]:
    return _blocks_inside(state, "model.model.1", ".model.3", ".model.1")


def _nested_sizes(state: State) -> Sizes:
    inside = _nested_blocks(state)
    return {
        "skips": "with",
        "upsample": "transposed",
        "z_at": "input",
        "planes": _size(state, "model.model.0.weight", 1),
        "out_channels": _size(state, "model.model.3.weight", 1),
        "base": _size(state, "model.model.0.weight", 0),
        "downs": 1 + len(inside),
        "norm": _norm(state, f"{inside[-1]}.model.4"),
    }


def _nested_layers(state: State, sizes: Sizes) -> dict[str, str]:
    blocks = [f"{prefix}.model" for prefix in _nested_blocks(state)]
    inside = [(f"{b}.1", f"{b}.2", f"{b}.5", f"{b}.6") for b in blocks[:-1]]
    inside += [(f"{b}.1", "", f"{b}.3", f"{b}.4") for b in blocks[-1:]]
    return _unet_layers("model.model.0", "model.model.3", inside)


def _coded_blocks(state: State) -> list[str]:
    return _blocks_inside(state, "model.submodule", ".submodule", ".down.1")


def _coded_sizes(state: State) -> Sizes:
    inside = _coded_blocks(state)
    base = _size(state, "model.down.0.weight", 0)
    z_dim = _size(state, f"{inside[0]}.down.1.weight", 1) - base
    return {
        "skips": "with",
        "upsample": "transposed",
        "z_at": "all",
        "z_dim": z_dim,
        "planes": _size(state, "model.down.0.weight", 1) - z_dim,
        "out_channels": _size(state, "model.up.1.weight", 1),
        "base": base,
        "downs": 1 + len(inside),
        "norm": _norm(state, f"{inside[-1]}.up.2"),
    }


def _coded_layers(state: State, sizes: Sizes) -> dict[str, str]:
    inside = [(f"{b}.down.1", f"{b}.down.2", f"{b}.up.1", f"{b}.up.2") for b in _coded_blocks(state)]
    return _unet_layers("model.down.0", "model.up.1", inside)


def _resnet_sizes(state: State) -> Sizes:
    blocks = len(_numbers(state, r"model\.(\d+)\.conv_block\.1\.weight"))
    return {
        "upsample": "transposed",
        "planes": _size(state, "model.1.weight", 1),
        "out_channels": _size(state, f"model.{17 + blocks}.weight", 0),
        "base": _size(state, "model.1.weight", 0),
        "blocks": blocks,
        "norm": _norm(state, "model.2"),
    }


def _resnet_layers(state: State, sizes: Sizes) -> dict[str, str]:
    """Map our layers to theirs, which have padding as separate layers and may have a dropout within a block."""
    blocks = int(sizes["blocks"])
    layers = {f"net.{i}": f"model.{i + 1}" for i in (*range(9), *range(9 + blocks, 15 + blocks))}
    layers[f"net.{15 + blocks}"] = f"model.{17 + blocks}"
    for i in range(9, 9 + blocks):
        block = f"model.{i + 1}.conv_block"
        second = 5 if f"{block}.5.weight" in state else 6
        theirs = {0: 1, 1: 2, 3: second, 4: second + 1}
        layers |= {f"net.{i}.body.{a}": f"{block}.{b}" for a, b in theirs.items()}
    return layers


def _patch_sizes(state: State, prefix: str = "model") -> Sizes:
    last = max(_numbers(state, rf"{prefix}\.(\d+)\.weight"))
    return {
        "planes": _size(state, f"{prefix}.0.weight", 1),
        "base": _size(state, f"{prefix}.0.weight", 0),
        "layers": (last - 2) // 3,
        "norm": _norm(state, f"{prefix}.3"),
    }


def _patch_layers(state: State, sizes: Sizes) -> dict[str, str]:
    return {f"net.{i}": f"model.{i}" for i in range(3 * int(sizes["layers"]) + 3)}


def _pixel_sizes(state: State) -> Sizes:
    planes, base = _size(state, "net.0.weight", 1), _size(state, "net.0.weight", 0)
    return {"planes": planes, "base": base, "layers": 0, "norm": _norm(state, "net.3")}


def _pixel_layers(state: State, sizes: Sizes) -> dict[str, str]:
    return {f"net.{i}": f"net.{i}" for i in range(6)}


def _scales_sizes(state: State) -> Sizes:
    return {"scales": len(_numbers(state, r"model_(\d+)\.0\.weight")), **_patch_sizes(state, "model_0")}


def _scales_layers(state: State, sizes: Sizes) -> dict[str, str]:
    numbers = range(3 * int(sizes["layers"]) + 3)
    return {f"scales.{s}.net.{i}": f"model_{s}.{i}" for s in range(int(sizes["scales"])) for i in numbers}


def _encoder_sizes(state: State) -> Sizes:
    return {
        "planes": _size(state, "conv.0.weight", 1),
        "base": _size(state, "conv.0.weight", 0),
        "blocks": len(_numbers(state, r"conv\.(\d+)\.conv\.2\.weight")),
        "z_dim": _size(state, "fc.0.weight", 0),
        "variance": "with" if "fcVar.0.weight" in state else "without",
        "norm": _norm(state, "conv.1.conv.0"),
    }


def _encoder_layers(state: State, sizes: Sizes) -> dict[str, str]:
    layers = {"trunk.0": "conv.0", "mean": "fc.0", "log_variance": "fcVar.0"}
    for i in range(1, int(sizes["blocks"]) + 1):
        layers |= {f"trunk.{i}.body.{j}": f"conv.{i}.conv.{j}" for j in (0, 2, 3)}
        layers |= {f"trunk.{i}.body.5": f"conv.{i}.conv.5.0", f"trunk.{i}.shortcut.1": f"conv.{i}.shortcut.1"}
    return layers


def _stargan_g_sizes(state: State) -> Sizes:
    blocks = len(_numbers(state, r"main\.(\d+)\.main\.0\.weight"))
    channels = _size(state, f"main.{15 + blocks}.weight", 0)
    return {
        "upsample": "transposed",
        "planes": channels,
        "labels": _size(state, "main.0.weight", 1) - channels,
        "base": _size(state, "main.0.weight", 0),
        "blocks": blocks,
    }


def _stargan_g_layers(state: State, sizes: Sizes) -> dict[str, str]:
    blocks = range(9, 9 + int(sizes["blocks"]))
    layers = {f"net.{i}": f"main.{i}" for i in range(blocks.stop + 7)}
    return layers | {f"net.{i}.body.{j}": f"main.{i}.main.{j}" for i in blocks for j in (0, 1, 3, 4)}


def _stargan_d_sizes(state: State) -> Sizes:
    layers = len(_numbers(state, r"main\.(\d+)\.weight"))
    return {
        "planes": _size(state, "main.0.weight", 1),
        "base": _size(state, "main.0.weight", 0),
        "layers": layers,
        "c_dim": _size(state, "conv2.weight", 0),
        "image_size": said_size(
            (_size(state, "conv2.weight", 2) * 2**layers, _size(state, "conv2.weight", 3) * 2**layers)
        ),
    }


def _stargan_d_layers(state: State, sizes: Sizes) -> dict[str, str]:
    trunk = {f"trunk.{i}": f"main.{i}" for i in range(0, 2 * int(sizes["layers"]), 2)}
    return {**trunk, "source": "conv1", "classes": "conv2"}


def _has(*names: str) -> Callable[[State], bool]:
    return lambda state: all(name in state for name in names)


UNET = Layout("a U-Net", _has("model.model.0.weight"), _nested_sizes, _nested_layers)
CODED_UNET = Layout("a U-Net with the code at every layer", _has("model.down.0.weight"), _coded_sizes, _coded_layers)
RESNET = Layout("a ResNet generator", _has("model.1.weight", "model.4.weight"), _resnet_sizes, _resnet_layers)
PATCH = Layout("a PatchGAN discriminator", _has("model.0.weight"), _patch_sizes, _patch_layers)
PIXEL = Layout("a PixelGAN discriminator", _has("net.0.weight"), _pixel_sizes, _pixel_layers)
SCALES = Layout("a discriminator of several scales", _has("model_0.0.weight"), _scales_sizes, _scales_layers)
ENCODER = Layout(
    "a residual encoder", _has("conv.0.weight", "conv.1.conv.2.weight", "fc.0.weight"), _encoder_sizes, _encoder_layers
)
STARGAN_D = Layout(
    "StarGAN's discriminator",
    _has("main.0.weight", "conv1.weight", "conv2.weight"),
    _stargan_d_sizes,
    _stargan_d_layers,
)
STARGAN_G = Layout(
    "StarGAN's generator", _has("main.0.weight", "main.1.weight", "main.3.weight"), _stargan_g_sizes, _stargan_g_layers
)
LAYOUTS = (UNET, CODED_UNET, RESNET, PATCH, PIXEL, SCALES, ENCODER, STARGAN_D, STARGAN_G)
# ---------------------------------------------------------------------------------------------------------------------
# This run's networks
# ---------------------------------------------------------------------------------------------------------------------
G_BASE, D_BASE, E_BASE = "--g-base {}".format, "--d-base {}".format, "--e-base {}".format
NORM, UPSAMPLE, Z_DIM, Z_AT = "--norm {}".format, "--upsample {}".format, "--z-dim {}".format, "--z-at {}".format
CHANNELS = "images of {0} channels (shard.py --channels {0})".format
INPUTS = "input images of {0} channels (shard.py --channels {0})".format
OUTPUTS = "output images of {0} channels (shard.py --channels {0})".format


def _fixed(what: str) -> Callable[[Any], str]:
    """Give the same advice whatever the value: for a size that no flag chooses."""
    return lambda _: what


def _downs(downs: int) -> str:
    return f"--downs {downs} with an --image-size that is a multiple of {2**downs}"


def _receptive_field(layers: int) -> str:
    for field, strided in STRIDED_LAYERS.items():
        if strided == layers:
            return f"--receptive-field {field}"
    known = " or ".join(map(str, STRIDED_LAYERS.values()))
    return f"a discriminator of {known} such layers, which are the ones --receptive-field knows"


def _patch_target(k: Any, planes: int, fix: Callable[[Any], str]) -> NetworkHere:
    return NetworkHere(
        (PATCH, PIXEL),
        {
            "planes": (planes, fix),
            "base": (k.d_base, D_BASE),
            "layers": (STRIDED_LAYERS[k.receptive_field], _receptive_field),
            "norm": (k.norm, NORM),
        },
    )


def _pix2pix(k: Any) -> dict[str, NetworkHere]:
    G = NetworkHere(
        (UNET,),
        {
            "skips": ("with" if k.generator == "unet" else "without", _fixed("--generator unet")),
            "upsample": (k.upsample, UPSAMPLE),
            "planes": (k.in_channels, INPUTS),
            "out_channels": (k.out_channels, OUTPUTS),
            "base": (k.g_base, G_BASE),
            "downs": (k.g_downs, _downs),
            "norm": (k.norm, NORM),
        },
    )
    conditional = "cGAN" in k.objective.split("+")
    fix = "an --objective or images with which D sees {} channels (cGAN: input and output together)".format
    return {"G": G, "D": _patch_target(k, k.out_channels + k.in_channels * conditional, fix)}


def _cyclegan(k: Any) -> dict[str, NetworkHere]:
    def resnet(inputs: int, outputs: int) -> NetworkHere:
        return NetworkHere(
            (RESNET,),
            {
                "upsample": (k.upsample, UPSAMPLE),
                "planes": (inputs, CHANNELS),
                "out_channels": (outputs, CHANNELS),
                "base": (k.g_base, G_BASE),
                "blocks": (k.g_blocks, "--blocks {}".format),
                "norm": (k.norm, NORM),
            },
        )

    a, b = k.in_channels, k.out_channels
    discriminators = {"D_X": _patch_target(k, a, CHANNELS), "D_Y": _patch_target(k, b, CHANNELS)}
    return {"G": resnet(a, b), "F": resnet(b, a), **discriminators}


def _multimodal(k: Any) -> dict[str, NetworkHere]:
    at_input = k.z_at == "input"
    code = _fixed(f"images and a --z-dim that together have as many channels ({k.in_channels} and {k.z_dim} here)")
    G = NetworkHere(
        (UNET, CODED_UNET),
        {
            "z_at": (k.z_at, Z_AT),
            "z_dim": (k.z_dim, Z_DIM),
            "upsample": (k.upsample, UPSAMPLE),
            "planes": (k.in_channels + k.z_dim * at_input, code if at_input else INPUTS),
            "out_channels": (k.out_channels, OUTPUTS),
            "base": (k.g_base, G_BASE),
            "downs": (k.g_downs, _downs),
            "norm": (k.norm, NORM),
        },
        upper_first=True,
    )
    seen = "images, or --conditional-d or not, with which D sees {} channels".format
    D = NetworkHere(
        (SCALES,),
        {
            "scales": (2, _fixed("a file of two scales: our discriminator has no others")),
            "planes": (k.out_channels + k.in_channels * k.conditional_d, seen),
            "base": (k.d_base, D_BASE),
            "layers": (k.d_layers, "--d-layers {}".format),
            "norm": (k.norm, NORM),
        },
    )
    return {"G": G, "D": D, "D2": D}


def _encoding(variance: bool) -> Callable[[Any], dict[str, NetworkHere]]:
    def targets(k: Any) -> dict[str, NetworkHere]:
        other = "--method clr_gan" if variance else "--method bicyclegan or cvae_gan"
        E = NetworkHere(
            (ENCODER,),
            {
                "planes": (k.out_channels, OUTPUTS),
                "base": (k.e_base, E_BASE),
                "blocks": (k.blocks, "--e-blocks {}".format),
                "z_dim": (k.z_dim, Z_DIM),
                "variance": ("with" if variance else "without", _fixed(other)),
                "norm": (k.norm, NORM),
            },
        )
        return {**_multimodal(k), "E": E}

    return targets


def _stargan(k: Any) -> dict[str, NetworkHere]:
    G = NetworkHere(
        (STARGAN_G,),
        {
            "upsample": (k.upsample, UPSAMPLE),
            "planes": (k.channels, CHANNELS),
            "labels": (k.g_labels, "--attributes that make a label vector of {}".format),
            "base": (k.g_base, G_BASE),
            "blocks": (k.blocks, "--blocks {}".format),
        },
    )
    D = NetworkHere(
        (STARGAN_D,),
        {
            "planes": (k.channels, CHANNELS),
            "c_dim": (k.c_dim, "--attributes with {} names".format),
            "base": (k.d_base, D_BASE),
            "layers": (k.d_layers, "--d-layers {}".format),
            "image_size": (said_size(k.image_size), "--image-size {}".format),
        },
    )
    return {"G": G, "D": D}


TARGETS: dict[str, Callable[[Any], dict[str, NetworkHere]]] = {
    "pix2pix": _pix2pix,
    "cyclegan": _cyclegan,
    "bicyclegan": _encoding(variance=True),
    "cvae_gan": _encoding(variance=True),
    "clr_gan": _encoding(variance=False),
    "pix2pix_noise": _multimodal,
    "stargan": _stargan,
}
"""By method, a function from its configuration to its networks by name. Methods without a line have no converter."""
NAMED = {
    "cyclegan": {"G_A": "G", "G_B": "F", "D_A": "D_Y", "D_B": "D_X"},
    "bicyclegan": {"D": "D", "D2": "D2"},
}
"""Maps NAME of `latest_net_NAME.pth` to our network, where two networks have the same layout. The authors' D_A judges
what G_A makes, which is the paper's D_Y."""


# ---------------------------------------------------------------------------------------------------------------------
# From what stands after `--init-from` to filled networks
# ---------------------------------------------------------------------------------------------------------------------


def named(init_from: str) -> bool:
    """Tell if `--init-from` names authors' files."""
    return init_from.startswith(PREFIX)


def located(init_from: str) -> str:
    """Make the local paths in `--init-from` absolute, for authors' files and checkpoints alike.

    Raises:
        ConfigError: a file is missing from the list, or a path is relative where it cannot be.
    """
    if not named(init_from):
        return absolute(init_from, "--init-from")
    parts = [(network, absolute(uri, "--init-from")) for network, uri in _files(init_from)]
    return PREFIX + ",".join(f"{network}={uri}" if network else uri for network, uri in parts)


def _files(init_from: str) -> list[tuple[str, str]]:
    """Split the list into pairs of a network (or "") and a file."""
    parts = []
    for part in init_from.removeprefix(PREFIX).split(","):
        network, is_given, uri = part.strip().partition("=")
        if not is_given or not network.isidentifier():
            network, uri = "", part.strip()
        if not uri:
            raise ConfigError(
                "--init-from", repr(init_from), FORM, "Name a file after `authors:`, after `=` and between commas."
            )
        parts.append((network, uri))
    return parts


def read(
    init_from: str, name: str, method: Method[Any], *, only: Collection[str] = (), fits: bool = False
) -> list[ConvertedFile]:
    """Read and convert the files that `--init-from` names. The method may have been built on the meta device.

    Args:
        name: the method's.
        only: networks whose files are converted; none named: all.
        fits: convert the layers whose tensors fit, where the file's network has other sizes.

    Raises:
        ConfigError: the method has no converter, or a file could be for two of its networks.
        CheckpointError: a file cannot be read, is of no known layout, or of another network or size.
    """
    if name not in TARGETS:
        methods = ", ".join(TARGETS)
        fix = "Start from a checkpoint of this program instead (--init-from RUN), or leave --init-from out."
        raise ConfigError("--init-from authors:FILE", f"--method {name}", f"one of {methods}", fix)
    targets = {key: target for key, target in TARGETS[name](method.config).items() if key in method.networks}
    parts: dict[str, ConvertedFile] = {}
    for given, uri in _files(init_from):
        where = f"--init-from {uri}"
        state = _read_state(uri, where)
        layout = _layout_of(state, where)
        network = given or _network_of(layout, uri, name, targets)
        if network not in targets:
            found = f"a network {network}"
            raise ConfigError(where, found, f"one of this run's: {', '.join(targets)}", f"Write {FORM}.")
        if network in parts:
            found = f"a second file for {network}, beside {parts[network].uri}"
            raise ConfigError(where, found, "one file for each network", f"Say which is which: {FORM}.")
        if only and network not in only:
            continue
        tensors, dropped = convert(state, layout, targets[network], network, method.networks[network], where, fits)
        parts[network] = ConvertedFile(network, uri, layout.words, tensors, dropped)
    return list(parts.values())


def said(part: ConvertedFile) -> str:
    """Describe a converted file, and what was dropped from it."""
    return part.words + (f"; {part.dropped} running statistics of instance norms dropped" if part.dropped else "")


def _read_state(uri: str, where: str) -> State:
    """Read the tensors of a state file by name, without executing anything in it."""
    fix = "Name a state file that the authors' program saved. " + DOCS
    try:
        fs, path = storage_of(uri)
        data = fs.cat_file(path)
    except Exception as error:  # each filesystem has its own kinds
        found = f"nothing that can be read ({error})"
        raise CheckpointError(where, found, "a state file", corrected(uri, fix)) from None
    try:
        state = loaded(data)
    except ValueError as error:
        raise CheckpointError(where, str(error), "a state file", fix) from None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        found = f"a {type(state).__name__} that holds other things than tensors" if state else "nothing in it"
        raise CheckpointError(where, found, "a state file: one tensor for each name", fix)
    for prefix in ("_orig_mod.", "module."):  # torch.compile's and DataParallel's
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _layout_of(state: State, where: str) -> Layout:
    for layout in LAYOUTS:
        if layout.seen(state):
            return layout
    known = "; ".join(layout.words for layout in LAYOUTS)
    raise CheckpointError(where, f"tensors named {_first(state)}", f"one of: {known}", DOCS)


def _network_of(layout: Layout, uri: str, name: str, targets: dict[str, NetworkHere]) -> str:
    """Find the network that a file belongs to: by its layout, and by the file's name where two networks share one."""
    fit = [key for key, target in targets.items() if layout in target.layouts]
    if len(fit) == 1:
        return fit[0]
    where = f"--init-from {uri}"
    if not fit:
        raise CheckpointError(where, layout.words, f"what --method {name} has: {_described(targets)}", DOCS)
    match = re.search(r"(?:^|_)net_(\w+)$", PurePosixPath(uri).stem)
    network = NAMED.get(name, {}).get(match[1], "") if match else ""
    if network not in fit:
        choices = " or ".join(f"{PREFIX}{key}={uri}" for key in fit)
        found = f"{layout.words}, which could be {' or '.join(fit)}"
        names = " or ".join(f"latest_net_{theirs}.pth" for theirs, ours in NAMED[name].items() if ours in fit)
        raise ConfigError(where, found, f"a file with a name like {names}", f"Say which: {choices}")
    return network


def _described(targets: dict[str, NetworkHere]) -> str:
    kinds = {key: " or ".join(layout.words for layout in target.layouts) for key, target in targets.items()}
    return ", ".join(f"{key} ({kind})" for key, kind in kinds.items())


def convert(
    state: State, layout: Layout, target: NetworkHere, key: str, network: nn.Module, where: str, fits: bool = False
) -> tuple[dict[str, Tensor], int]:
    """Convert a file's tensors to our names, one for each of the network's; return also how many were dropped.

    Dropped are running statistics of instance norms.

    Args:
        key: the network's name, for messages.
        fits: take only the layers whose tensors are all there, in the network's shapes.

    Raises:
        CheckpointError: another layout or size than the network's, or names that are missing or too many.
    """
    sizes = _sizes_in(state, layout, target, key, where)
    if not fits:
        _check_sizes(sizes, target, key, where, lambda: convert(state, layout, target, key, network, where, True)[0])
    theirs, wanted = _counterparts(layout.layers(state, sizes), network), network.state_dict()
    left = set(state) - set(theirs.values())
    if fits:
        theirs = _fitting(state, theirs, network)
    else:
        _check_names(state, theirs, left, f"the tensors of {key}: {layout.words}", where)
    tensors = {}
    for name, of_theirs in theirs.items():
        # files older than PyTorch 0.4.1 do not count batches; the count is not used
        given = state.get(of_theirs, torch.zeros((), dtype=torch.long))
        if given.shape != wanted[name].shape:
            shapes = f"{of_theirs} of shape {tuple(given.shape)}", f"{tuple(wanted[name].shape)}, as in {key}"
            raise CheckpointError(where, *shapes, "The file is of a network with other layers. " + DOCS)
        is_up = re.fullmatch(r"ups\.[1-9]\d*\.1\.weight", name)
        tensors[name] = torch.cat(given.chunk(2)[::-1]) if target.upper_first and is_up else given
    return tensors, sum(name.endswith(RUNNING) for name in left)


def _sizes_in(state: State, layout: Layout, target: NetworkHere, key: str, where: str) -> Sizes:
    """Read a file's sizes. Raises CheckpointError for another layout than the network's, or without layers it has."""
    if layout not in target.layouts:
        kinds = " or ".join(each.words for each in target.layouts)
        raise CheckpointError(where, layout.words, f"{kinds}, which {key} is", "Name the file of that network.")
    try:
        return layout.sizes(state)
    except KeyError as error:
        found = f"{layout.words} in which {error.args[0]} is missing or of another kind"
        raise CheckpointError(where, found, "the layers that the authors' program has", DOCS) from None


def _counterparts(layers: Mapping[str, str], network: nn.Module) -> dict[str, str]:
    """Map the names of a network's tensors to theirs."""
    theirs = {}
    for name in network.state_dict():
        layer, _, kind = name.rpartition(".")
        theirs[name] = f"{layers.get(layer, 'counterpart of ' + layer)}.{kind}"
    return theirs


def _fitting(state: State, theirs: Mapping[str, str], network: nn.Module) -> dict[str, str]:
    """Keep the counterparts of layers whose tensors are all there, in the network's shapes."""
    there = {name: state[of_theirs] for name, of_theirs in theirs.items() if of_theirs in state}
    counts = {name: tensor for name, tensor in network.state_dict().items() if name.endswith(RUNNING[2])}
    unfit = {layer_of(name) for name in compare({**counts, **there}, network).names}  # counts: made up where absent
    return {name: of_theirs for name, of_theirs in theirs.items() if layer_of(name) not in unfit}


def _check_names(state: State, theirs: Mapping[str, str], left: set[str], what: str, where: str) -> None:
    """Check that no tensor is missing or too many. Raises CheckpointError with the names."""
    absent = [name for name in theirs.values() if name not in state and not name.endswith(RUNNING[2])]
    extra = [name for name in state if name in left and not name.endswith(RUNNING)]
    if absent or extra:
        said = [f"no {_first(absent)}"] if absent else []
        said += [f"also {_first(extra)}"] if extra else []
        expected = f"{what} as this run builds it, no more and no fewer"
        raise CheckpointError(where, "; ".join(said), expected, DOCS)


def _check_sizes(sizes: Sizes, target: NetworkHere, key: str, where: str, fitting: Callable[[], State]) -> None:
    """Check a file's sizes against the network's. Raises CheckpointError with those that differ, and their flags.

    Args:
        fitting: gives the tensors that `--init-parts fits` would take.
    """
    differ = {size: sizes[size] for size, (value, _) in target.sizes.items() if size in sizes and sizes[size] != value}
    if "z_at" in differ:  # the others are then counted differently
        differ = {"z_at": differ["z_at"]}
    if not differ:
        return
    found = ", ".join(WORDS[size].format(value) for size, value in differ.items())
    expected = ", ".join(WORDS[size].format(target.sizes[size][0]) for size in differ)
    fixes = ", ".join(dict.fromkeys(target.sizes[size][1](value) for size, value in differ.items()))
    fix = f"Give {fixes}" + ("; or add --init-parts fits to take the layers that fit." if fitting() else ".")
    raise CheckpointError(where, found, f"{expected}, as {key} of this run has", fix)


def _first(names: Any, most: int = 3) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
