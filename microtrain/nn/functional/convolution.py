"""Convolution in one and two dimensions, and the sliding blocks it is made of."""

from __future__ import annotations

import math
from typing import Any

from ...tensor import Tensor, nn_ops
from .sizes import check_positive, each


def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1) -> Tensor:
    """Cross-correlation of `input` with `weight` along one dimension; see `conv2d`.

    Args:
        input: (N, C, L) or (C, L).
        weight: (O, C/groups, K).
        bias: (O,) or None.
    """
    return _convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1) -> Tensor:
    """Cross-correlation of `input` with `weight` over two dimensions (LeCun et al., 1989).

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (O, C/groups, KH, KW), of the input's dtype.
        bias: (O,) or None.
        stride: an int or one a dimension: how far apart outputs are.
        padding: zeros on both sides, an int or one a dimension; "valid" for none; "same" for as many as keep the
            size (with stride 1; one more behind than before where their number is odd).
        dilation: how far apart the elements are that a kernel is applied to.
        groups: the number of groups of channels that are convolved apart.

    Returns:
        (N, O, HO, WO) or (O, HO, WO), with HO = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1.

    Raises:
        RuntimeError: shapes, dtypes or options that do not fit.
    """
    return _convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def _convolution(name: str, n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
                 dilation: Any, groups: int) -> Tensor:
    for what, other in (("weight", weight), ("bias", bias)):
        if other is not None and other.dtype is not input.dtype:
            raise RuntimeError(f"{name}: Input type ({input.dtype}) and {what} type ({other.dtype}) should be the same")
    if groups <= 0:
        raise RuntimeError(f"{name}: non-positive groups is not supported, got {groups}")
    strides, dilations = each(stride, n, name, "stride"), each(dilation, n, name, "dilation")
    if min(strides) <= 0:
        raise RuntimeError(f"{name}: non-positive stride is not supported, got {list(strides)}")
    if min(dilations) <= 0:
        raise RuntimeError(f"{name}: dilation should be greater than zero, but got {list(dilations)}")
    if weight.dim() < 3:
        raise RuntimeError(f"{name}: weight should have at least three dimensions, got shape {list(weight.shape)}")
    if weight.dim() != n + 2:
        raise RuntimeError(f"{name}: Expected {weight.dim()}-dimensional input for {weight.dim()}-dimensional weight "
                           f"{list(weight.shape)}, but got {n + 2}-dimensional input")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of "
                           f"size: {list(input.shape)}")
    kernel = tuple(weight.shape[2:])
    pads = _padding(name, padding, kernel, strides, dilations)
    x = input if input.dim() == n + 2 else input.unsqueeze(0)
    _check_channels(name, x, weight, bias, groups)
    padded = [size + sum(pad) for size, pad in zip(x.shape[2:], pads, strict=True)]
    spans = [apart * (size - 1) + 1 for size, apart in zip(kernel, dilations, strict=True)]
    if min(kernel) <= 0:
        raise RuntimeError(f"{name}: kernel size should be greater than zero, but got {list(kernel)}")
    if any(span > size for span, size in zip(spans, padded, strict=True)):
        raise RuntimeError(f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
                           f"({' x '.join(map(str, spans))}). Kernel size can't be greater than actual input size")
    out = nn_ops.convolution(x, weight, strides, pads, dilations, groups)
    if bias is not None:
        out = out + bias.reshape(-1, *[1] * n)
    return out if input.dim() == n + 2 else out.squeeze(0)


def _padding(name: str, padding: Any, kernel: tuple[int, ...], strides: tuple[int, ...],
             dilations: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Zeros before and after each dimension."""
    if isinstance(padding, str) and padding == "valid":
        return ((0, 0),) * len(kernel)
    if isinstance(padding, str) and padding == "same":
        if max(strides) != 1:
            raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions, got {list(strides)}")
        totals = [apart * (size - 1) for size, apart in zip(kernel, dilations, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        raise RuntimeError(f"{name}: Invalid padding string: '{padding}'; it is 'valid', 'same', an int or a tuple")
    sizes = each(padding, len(kernel), name, "padding")
    if min(sizes) < 0:
        raise RuntimeError(f"{name}: negative padding is not supported, got {list(sizes)}")
    return tuple((size, size) for size in sizes)


def _check_channels(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    shape, out = list(weight.shape), weight.shape[0]
    if out < groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, "
                           f"but got weight of size [{shape}] instead")
    if out % groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
                           f"but got weight of size [{shape}] instead")
    if x.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(f"Given groups={groups}, weight of size {shape}, expected input{list(x.shape)} to have "
                           f"{weight.shape[1] * groups} channels, but got {x.shape[1]} channels instead")
    if x.shape[1] == 0:
        raise RuntimeError(f"{name}: an input without channels is not supported, got input of size {list(x.shape)}")
    if bias is not None and list(bias.shape) != [out]:
        raise RuntimeError(f"Given weight of size {shape}, expected bias to be 1-dimensional with {out} elements, "
                           f"but got bias of size {list(bias.shape)} instead")


def _blocks(function: str, kernel_size: Any, dilation: Any, padding: Any,
            stride: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    given = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    kernel, apart, pads, steps = (each(value, 2, function, name) for name, value in given.items())
    for name, sizes in (("kernel_size", kernel), ("dilation", apart), ("stride", steps)):
        check_positive(sizes, function, name)
    if min(pads) < 0:
        raise RuntimeError(f"{function}: padding should be non-negative, but got {list(pads)}")
    return kernel, apart, pads, steps


def _places(size: tuple[int, ...], kernel: Any, apart: Any, pads: Any, steps: Any) -> list[int]:
    """How many blocks there are along each dimension."""
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, d, p, s in zip(size, kernel, apart, pads, steps, strict=True)]  # fmt: skip


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Sliding blocks of a batch of images as columns.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, dilation, padding, stride: as those of `conv2d`; padding is an int or a tuple.

    Returns:
        (N, C KH KW, L) or (C KH KW, L): column l is block l, blocks in row-major order.

    Raises:
        RuntimeError: sizes that are not positive, or leave no block; an input of another shape.
    """
    kernel, apart, pads, steps = _blocks("unfold", kernel_size, dilation, padding, stride)
    if input.dim() not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError("Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
                           f"dimensions for input, but got: {list(input.shape)}")
    x = input if input.dim() == 4 else input.unsqueeze(0)
    places = _places(tuple(x.shape[2:]), kernel, apart, pads, steps)
    if min(places) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(x.shape[2:])}, kernel_size={kernel}, dilation={apart}, "
            f"padding={pads}, calculated shape of the array of sliding blocks as ({places[0]}, {places[1]}), but its "
            "components must be at least one."
        )
    n, c, h, w = x.shape
    if any(pads):
        x = nn_ops.padded(x, (0, 0, *pads), (n, c, h + 2 * pads[0], w + 2 * pads[1]), 0)
    for d in range(2):
        x = nn_ops.windows(x, 2 + d, kernel[d], steps[d], apart[d])
    columns = x.permute(0, 1, 4, 5, 2, 3).reshape(n, c * math.prod(kernel), math.prod(places))
    return columns if input.dim() == 4 else columns.squeeze(0)


def fold(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
         stride: Any = 1) -> Tensor:
    """Blocks added up into images where they overlap: the adjoint of `unfold`.

    Args:
        input: (N, C KH KW, L) or (C KH KW, L).
        output_size: (H, W), or an int for both.
        kernel_size, dilation, padding, stride: as those of `unfold`.

    Returns:
        (N, C, H, W) or (C, H, W).

    Raises:
        RuntimeError: sizes that are not positive; an input that such blocks do not make.
    """
    kernel, apart, pads, steps = _blocks("fold", kernel_size, dilation, padding, stride)
    size = each(output_size, 2, "fold", "output_size")
    if input.dim() not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError("Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
                           f"dimensions for input, but got: {list(input.shape)}")
    x = input if input.dim() == 3 else input.unsqueeze(0)
    n, rows, count = x.shape
    if rows % math.prod(kernel):
        raise RuntimeError("Expected size of input's dimension 1 to be divisible by the product of kernel_size, but "
                           f"got input.size(1)={rows} and kernel_size={kernel}.")
    places = _places(size, kernel, apart, pads, steps)
    if min(places) < 1:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={apart}, padding={pads}, stride={steps}, "
            f"calculated shape of the array of sliding blocks as ({places[0]}, {places[1]}), but its components "
            "must be at least one."
        )
    if math.prod(places) != count:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={apart}, padding={pads}, stride={steps}, "
            f"expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{places[0]} * {places[1]} = {math.prod(places)}, but got input.size(2)={count}."
        )
    x = x.reshape(n, rows // math.prod(kernel), *kernel, *places).permute(0, 1, 4, 5, 2, 3)
    for d in (1, 0):
        x = nn_ops.fold_windows(x, 2 + d, size[d] + 2 * pads[d], steps[d], apart[d])
    x = x[:, :, pads[0] : pads[0] + size[0], pads[1] : pads[1] + size[1]]
    return x if input.dim() == 3 else x.squeeze(0)
