"""Run exported networks beside the checkpoint's own, and compare their images.

x_BCHW images in [-1, 1].
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2i_core.errors import RunError
from i2i_core.methods.at_test import FixedDropout


def keeping(network: nn.Module) -> nn.Module:
    """Have a network's dropout keep every value, scaled as those that it keeps are; changes the network."""
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, FixedDropout):
                setattr(parent, name, Scaled(1 / (1 - module.p)))
    return network


class Scaled(nn.Module):
    """Multiply by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW * self.factor


def difference_of(
    run: Callable[[tuple[Tensor, ...], bool], tuple[Tensor, ...]],
    reference: nn.Module,
    given: tuple[Tensor, ...],
    noise: bool,
    half: bool,
) -> float:
    """Run a file, and return the largest difference of its outputs from those of the checkpoint's own network.

    Where dropout is the noise, whose draws differ, both keep every value.

    Args:
        run: runs the file on inputs; true: with every value kept by dropout.
        reference: the checkpoint's network, whose dropout keeps every value.
        given: inputs, in order.

    Raises:
        RunError: the noise is not in the file.
    """
    put = tuple(x.half() for x in given) if half else given
    with torch.no_grad():
        made = reference(*given)
    pairs = [*zip(made if isinstance(made, tuple) else (made,), run(put, noise), strict=True)]
    if any(a.shape != b.shape or not bool(torch.isfinite(b).all()) for a, b in pairs):
        return math.inf
    if noise and all(torch.equal(a, b) for a, b in zip(run(put, False), run(put, False), strict=True)):
        raise RunError("the exported network lost the method's noise: two runs make the same images")
    return max(float((a - b.float()).abs().max()) for a, b in pairs)


def runs_torch(data: bytes) -> Callable[[tuple[Tensor, ...], bool], tuple[Tensor, ...]]:
    """Give a function that runs a saved program, if asked with every value kept by dropout."""
    module = torch.export.load(io.BytesIO(data)).module(check_guards=False)
    kept = torch.export.load(io.BytesIO(data)).module(check_guards=False)
    for node in kept.graph.nodes:
        if node.op == "call_function" and node.target == torch.ops.aten.rand_like.default:
            node.target = torch.ops.aten.ones_like.default
    kept.recompile()

    def run(given: tuple[Tensor, ...], keeps: bool) -> tuple[Tensor, ...]:
        with torch.no_grad():
            made = (kept if keeps else module)(*given)
        return made if isinstance(made, tuple) else (made,)

    return run


def runs_onnx(data: bytes) -> Callable[[tuple[Tensor, ...], bool], tuple[Tensor, ...]]:
    """Give a function that runs an ONNX file, if asked with every value kept by dropout."""
    import onnx
    import onnxruntime

    def session(data: bytes) -> Any:
        return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    plain, kept = session(data), onnx.load_from_string(data)
    nodes, one = [*kept.graph.node], np.float16 if _is_half(kept) else np.float32
    del kept.graph.node[:]
    for node in nodes:
        if node.op_type != "RandomUniformLike":
            kept.graph.node.append(node)
            continue
        shape = onnx.helper.make_node("Shape", node.input, [f"{node.output[0]}_shape"])
        value = onnx.numpy_helper.from_array(np.ones(1, one))
        kept.graph.node.extend(
            [shape, onnx.helper.make_node("ConstantOfShape", shape.output, node.output, value=value)]
        )
    quiet = session(kept.SerializeToString())

    def run(given: tuple[Tensor, ...], keeps: bool) -> tuple[Tensor, ...]:
        chosen = quiet if keeps else plain
        names = [value.name for value in chosen.get_inputs()]
        made = chosen.run(None, {name: x.numpy() for name, x in zip(names, given, strict=True)})
        return tuple(map(torch.from_numpy, made))

    return run


def _is_half(model: Any) -> bool:
    """Tell whether an ONNX model takes half precision."""
    import onnx

    return bool(model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16)
