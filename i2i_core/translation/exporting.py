"""Export the network that makes a checkpoint's images to a file that runs without this project: ONNX, or torch's
exported program (`.pt2`).

What is written has been run before: the file's own outputs are compared with those of the checkpoint.

x_BCHW images in [-1, 1]; n the images of a batch.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.export import ExportedProgram

from i2i_core.errors import ConfigError, ResourceError, RunError
from i2i_core.methods.base import Direction
from i2i_core.methods.exportable import Dropped, exportable
from i2i_core.program import program_name
from i2i_core.sizes import Size, said_bytes, written
from i2i_core.sizes import sides as sides_of
from i2i_core.translation.export_checks import difference_of, keeping, runs_onnx, runs_torch
from i2i_core.translation.model import Model
from i2i_core.translation.padding import Padding
from i2i_core.translation.signatures import Signature, sides_taken

logger = logging.getLogger(__name__)

Format = Literal["onnx", "torch"]
MOST_DIFFERENCE = 1e-4
"""Largest difference from the checkpoint's outputs, in [-1, 1], with which a file is written."""
MOST_DIFFERENCE_HALF = 0.05
"""The same for half precision, whose numbers have three digits: a step of a byte is 0.008."""
MOST_ONNX = 2**31 - 1
"""Bytes that a file of ONNX may have."""
NEEDED = ("onnx", "onnxscript", "onnxruntime")
"""Packages that ONNX takes: the extra `export`."""
KEY = "i2i"
"""Name of what a file says of itself: a JSON text."""


@dataclass(frozen=True)
class Exported:
    """Hold an exported network.

    Attributes:
        data: the file.
        about: what the file says of itself.
        difference: largest difference between its outputs and the checkpoint's, in [-1, 1].
        fixed: why height and width are fixed; empty where they are free.
    """

    data: bytes
    about: Mapping[str, Any]
    difference: float
    fixed: str


def check_packages(to: Format) -> None:
    """Check that what a format takes is installed. Raises ResourceError."""
    for name in NEEDED if to == "onnx" else ():
        try:
            importlib.import_module(name)
        except ImportError as error:
            fix = "Install them: pip install 'i2i[export]'; or give --to torch."
            raise ResourceError("--to onnx", f"no package {name} ({error})", ", ".join(NEEDED), fix) from None


def export(
    model: Model,
    to: Format,
    direction: Direction = "AtoB",
    half: bool = False,
    size: Size = 0,
    about: Mapping[str, str] | None = None,
) -> Exported:
    """Export the network that makes a checkpoint's images, run what came of it, and compare.

    Height, width and batch are free where the network allows it; then height and width are multiples of a number that
    the file names. Dropout that is the method's noise is drawn anew at each run.

    Args:
        model: the checkpoint, on the CPU.
        to: onnx, or torch: an exported program, for `torch.export.load`.
        direction: BtoA goes back, with methods that translate both ways.
        half: store weights, and take and make images, in half precision.
        size: fixes height and width; 0: free if the network allows it, else those of training.
        about: more that the file says of itself, by name.

    Raises:
        ConfigError: the method, direction or size is none that can be exported.
        ResourceError: packages are missing.
        RunError: the outputs differ by more than MOST_DIFFERENCE (with `half`, MOST_DIFFERENCE_HALF) from the
            checkpoint's; or the exporter failed.
    """
    check_packages(to)
    method = model.method
    if direction == "BtoA" and not method.two_way:
        raise ConfigError("--back", "it with a method that goes one way", "one that goes both", "Leave --back out.")
    if method.optimises:
        found, fix = "a method that makes images by a search for their codes", "Translate with the checkpoint itself."
        raise ConfigError("export", found, "one whose images a network makes", fix)
    signature = Signature.of(method, direction)
    if size and not signature.channels:
        fix = "Leave --size out: images have the size that the network was trained at."
        raise ConfigError("--size", written(size), "none, for a method that takes no image", fix)
    network = exportable(model.network(direction))
    noise = any(isinstance(module, Dropped) for module in network.modules())
    padding = sides_taken(network, signature) if signature.channels else Padding(0)
    trained = sides_of(size or model.trained.stage.size or method.config.size)
    if padding.factor and trained != (fits := (padding.side(trained[0]), padding.side(trained[1]))):
        expected = f"multiples of {padding.factor}, at least {padding.least}"
        raise ConfigError("--size", written(trained), expected, f"Give --size {written(fits)}.")
    program, factor, fixed = _program(network, signature, padding, trained, bool(size), half)
    facts = _facts(model, signature, direction, factor, padding.least, trained, half, noise) | dict(about or {})
    data = _onnx(program, signature, facts) if to == "onnx" else _torch(program, facts)
    run = runs_onnx(data) if to == "onnx" else runs_torch(data)
    cases = [(1, *trained), (3, *trained)]
    if factor:
        side = padding.side(max(1, min(trained) // 2))
        cases.append((2, side, side + factor))
    reference = keeping(model.network(direction))
    difference = max(difference_of(run, reference, signature.example(*case), noise, half) for case in cases)
    most = MOST_DIFFERENCE_HALF if half else MOST_DIFFERENCE
    if not difference <= most:
        raise RunError(
            f"the exported network's images differ from the checkpoint's by {difference:.2g}, over the bound "
            f"of {most:g}: nothing is written"
        )
    return Exported(data, facts, difference, fixed)


def _program(
    network: nn.Module,
    signature: Signature,
    padding: Padding,
    trained: tuple[int, int],
    is_fixed: bool,
    half: bool,
) -> tuple[ExportedProgram, int, str]:
    """Trace the network; return the program, the factor of free sides (0: fixed), and why sides are fixed."""
    network = network.half() if half else network

    def traced(factor: int, height: int, width: int) -> ExportedProgram:
        given = signature.example(2, height, width)
        given = tuple(x.half() for x in given) if half else given
        shapes = signature.shapes(factor, padding.least)
        packed: Any = (shapes,) if _takes_any(network) else shapes
        with torch.no_grad(), _quiet():
            return torch.export.export(network, given, dynamic_shapes=packed, strict=False)

    fixed = "--size names them" if is_fixed else ""
    if padding.factor and not fixed:
        first = padding.side(2)
        try:
            return traced(padding.factor, 2 * first, 3 * first), padding.factor, ""
        except Exception as error:  # torch's own kinds, of which some are private
            fixed = f"the network allows no other ({type(error).__name__})"
            logger.debug(str(error))
    try:
        return traced(0, *trained), 0, fixed or "the network makes images of one size"
    except Exception as error:
        raise RunError(f"torch cannot export the network: {str(error).splitlines()[0]}") from error


def _takes_any(network: nn.Module) -> bool:
    """Tell whether `forward` takes its inputs as `*args`."""
    kinds = [parameter.kind for parameter in inspect.signature(network.forward).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' own words off the screen: ours say what became of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _facts(
    model: Model,
    signature: Signature,
    direction: Direction,
    factor: int,
    least: int,
    trained: tuple[int, int],
    half: bool,
    noise: bool,
) -> dict[str, Any]:
    """Say of the file what a person needs who has nothing else."""
    config, shapes = model.trained.config, signature.shown(factor, trained)
    return {
        "program": program_name(),
        "method": config.method,
        "preset": config.preset,
        "run": config.run_name,
        "images": model.trained.images,
        "checkpoint": model.trained.identity,
        "trained_by": model.trained.program,
        "direction": direction,
        "precision": "half" if half else "float",
        "inputs": {signature.name(n): {"shape": shapes[n], "is": signature.words[n]} for n in signature.taken},
        "outputs": dict.fromkeys(signature.made, "image, values from -1 to 1"),
        "sides": {"multiple_of": factor, "at_least": max(least, factor)} if factor else {"height_width": list(trained)},
        "trained_at": list(sides_of(model.trained.stage.size or model.method.config.size)),
        "noise": "dropout, drawn anew at each run" if noise else "",
        "weights_from": config.training.init_from.rpartition("/")[2],
    }


def _torch(program: ExportedProgram, facts: Mapping[str, Any]) -> bytes:
    """Save a program, without places of this machine."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    out = io.BytesIO()
    torch.export.save(program, out, extra_files={f"{KEY}.json": json.dumps(facts, indent=1)})
    return out.getvalue()


def _onnx(program: ExportedProgram, signature: Signature, facts: Mapping[str, Any]) -> bytes:
    """Convert a program to ONNX, with our names for inputs, outputs and axes, and without places of this machine."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [one.level for one in loggers]
    try:
        for one in loggers:
            one.setLevel(logging.ERROR)
        with _quiet():
            made = torch.onnx.export(
                program,
                (),
                dynamo=True,
                verbose=False,
                input_names=[*map(signature.name, signature.taken)],
                output_names=[*signature.made],
            )
        assert made is not None
        model = made.model_proto
    except Exception as error:
        raise RunError(f"torch cannot write the network as ONNX: {str(error).splitlines()[0]}") from error
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    shapes = [value["shape"] for value in facts["inputs"].values()]
    renamed: dict[str, str] = {}
    for value, shape in zip(model.graph.input, shapes, strict=True):
        for axis, name in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            if axis.dim_param and isinstance(name, str):
                renamed[axis.dim_param] = axis.dim_param = name
    for value in (*model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in renamed:
                axis.dim_param = renamed[axis.dim_param]
    del model.graph.value_info[:]
    del model.metadata_props[:]
    model.producer_name = facts["program"]
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(facts)
    if model.ByteSize() > MOST_ONNX:
        fix = "Give --half, or --to torch."
        raise ResourceError(
            "--to onnx", said_bytes(model.ByteSize()), f"at most {said_bytes(MOST_ONNX)} in a file", fix
        )
    data: bytes = model.SerializeToString()
    return data
