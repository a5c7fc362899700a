"""Bad input raises at the line that made it: PyTorch's type of error, its words where they are clear, the values named.

Every case runs on PyTorch too, so that a phrase said to be PyTorch's is.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import microtrain as mt


class Case(NamedTuple):
    """A call that is refused; a phrase (regular expression) of PyTorch's own; what our message names besides."""

    name: str
    call: Callable[[Any], Any]
    phrase: str = ""
    named: tuple[str, ...] = ()


def a(T: Any, *shape: int, dtype: str = "float32") -> Any:
    return T.ones(shape, dtype=getattr(T, dtype))


BROADCAST = "The size of tensor a .* must match the size of tensor b .* at non-singleton dimension"
DIM = "Dimension out of range \\(expected to be in range of \\[-2, 1\\], but got [-\\d]+\\)"

CASES = [
    # Shapes that do not broadcast
    Case("add", lambda T: a(T, 2, 3) + a(T, 2, 4), f"{BROADCAST} 1", ("3", "4")),
    Case("mul deep", lambda T: a(T, 5, 2, 3) * a(T, 4, 3), BROADCAST, ("2", "4")),
    Case("compare", lambda T: a(T, 3) < a(T, 2), BROADCAST, ("3", "2")),
    Case("pow", lambda T: a(T, 3) ** a(T, 2), BROADCAST),
    Case("where", lambda T: T.where(a(T, 3) > 0, a(T, 2), a(T, 3)), BROADCAST),
    Case("maximum", lambda T: T.maximum(a(T, 3), a(T, 2)), BROADCAST),
    Case("in place", lambda T: a(T, 3).add_(a(T, 2)), BROADCAST),
    Case("in place wider", lambda T: a(T, 3).add_(a(T, 2, 3)),
         "output with shape \\[3\\] doesn't match the broadcast shape \\[2, 3\\]"),
    Case("copy_", lambda T: a(T, 3).copy_(a(T, 2)), "", ("3", "2")),
    # Matrices
    Case("mm", lambda T: T.mm(a(T, 2, 3), a(T, 4, 5)), "mat1 and mat2 shapes cannot be multiplied \\(2x3 and 4x5\\)"),
    Case("matmul", lambda T: a(T, 2, 3) @ a(T, 4, 5), "mat1 and mat2 shapes cannot be multiplied \\(2x3 and 4x5\\)"),
    Case("matmul batch", lambda T: a(T, 2, 3, 4) @ a(T, 3, 4, 5), "", ("2", "3")),
    Case("matmul 0-d", lambda T: T.matmul(T.tensor(1.0), a(T, 3)), "both arguments to matmul need to be at least 1D"),
    Case("matmul dtypes", lambda T: a(T, 2, 2) @ a(T, 2, 2, dtype="float64"), "expected .* the same dtype"),
    Case("mm 1-d", lambda T: T.mm(a(T, 3), a(T, 3)), "must be a matrix"),
    Case("mv", lambda T: T.mv(a(T, 2, 3), a(T, 2)), "size mismatch|shapes cannot be multiplied"),
    Case("dot shapes", lambda T: T.dot(a(T, 3), a(T, 4)),
         "inconsistent tensor size, expected tensor \\[3\\] and src \\[4\\]"),
    Case("dot 2-d", lambda T: T.dot(a(T, 2, 2), a(T, 2, 2)), "1D tensors expected"),
    Case("outer 2-d", lambda T: T.outer(a(T, 2, 2), a(T, 2)), "outer: Expected 1-D argument self, but got 2-D"),
    Case("t of 3-d", lambda T: a(T, 2, 3, 4).t(), "t\\(\\) expects a tensor with <= 2 dimensions, but self is 3D"),
    Case("addmm", lambda T: T.addmm(a(T, 4, 3), a(T, 2, 3), a(T, 3, 3)), "expanded size of the tensor", ("4", "2")),
    Case("addmm of a vector", lambda T: T.addmm(a(T, 3), a(T, 3), a(T, 3, 3)), "mat1 must be a matrix, got 1-D tensor"),
    Case("addmm dtypes", lambda T: T.addmm(a(T, 3), a(T, 3, 3), a(T, 3, 3, dtype="float64")),
         "must have the same dtype", ("float64",)),
    Case("addmm of a number", lambda T: T.addmm(2.0, a(T, 3, 3), a(T, 3, 3)), "must be Tensor, not float"),
    Case("addmv", lambda T: T.addmv(a(T, 3), a(T, 3, 3), a(T, 2)),
         "size mismatch, got input \\(3\\), mat \\(3x3\\), vec \\(2\\)"),
    Case("addbmm", lambda T: T.addbmm(a(T, 3), a(T, 2, 3, 4), a(T, 3, 4, 3)),
         "batch1 and batch2 must have same number of batches, got 2 and 3"),
    Case("baddbmm", lambda T: T.baddbmm(a(T, 9), a(T, 2, 3, 4), a(T, 2, 4, 3)), "", ("9", "3", "baddbmm")),
    Case("tensordot sizes", lambda T: T.tensordot(a(T, 3, 3), a(T, 2, 3), 1),
         "contracted dimensions need to match, but first has size 3 in dim -?1 and second has size 2 in dim 0"),
    Case("tensordot dims", lambda T: T.tensordot(a(T, 3), a(T, 3, 3), 2),
         "tensordot expects dims < ndim_a or ndim_b, but got dims=2"),
    Case("tensordot lists", lambda T: T.tensordot(a(T, 3, 3), a(T, 3, 3), ([0], [0, 1])),
         "both dimension lists should have same length"),
    *(
        Case(f"einsum {text}", lambda T, t=text, s=shapes: T.einsum(t, *(a(T, *shape) for shape in s)), phrase)
        for text, shapes, phrase in (
            ("ij,jk", ((2, 3),), "fewer operands were provided than specified in the equation"),
            ("ij", ((2, 3), (2, 3)), "more operands were provided than specified in the equation"),
            ("ijk", ((2, 3),), "the number of subscripts in the equation \\(3\\) does not match the number of "
             "dimensions \\(2\\) for operand 0 and no ellipsis was given"),
            ("ijk...", ((2, 3),), "the number of subscripts in the equation \\(3\\) is more than the number of "
             "dimensions \\(2\\) for operand 0"),
            ("ij->k", ((2, 3),), "output subscript k does not appear in the equation for any input operand"),
            ("ij->ii", ((2, 3),), "output subscript i appears more than once in the output"),
            ("i1", ((2, 3),), "invalid subscript given at index 1 in the equation string"),
            ("ij,i-", ((2, 3), (2, 3)), "invalid subscript given at index 4 in the equation string"),
            ("ij->i.", ((2, 3),), "found '.' for output that is not part of any ellipsis"),
            ("...i...", ((2, 3),), "found '.' for operand 0 for which an ellipsis was already found"),
            ("ij,jk", ((2, 3), (2, 3)), "subscript j has size 2 for operand 1 which does not broadcast with previously "
             "seen size 3"),
            ("ii", ((2, 3),), "subscript i is repeated for operand 0 but the sizes don't match, 3 != 2"),
        )
    ),
    Case("einsum of nothing", lambda T: T.einsum("ij"), "must specify the equation string and at least one operand"),
    Case("einsum of text", lambda T: T.einsum("ij,jk", a(T, 2, 3), "x"), "expected Tensor as element 1 in argument 1"),
    Case("einsum dtypes", lambda T: T.einsum("ij,jk", a(T, 2, 2), a(T, 2, 2, dtype="float64")), ""),
    Case("norm of ints", lambda T: a(T, 3, dtype="int64").norm(),
         "Expected a floating point or complex tensor as input"),
    Case("norm dtype", lambda T: T.linalg.vector_norm(a(T, 3, dtype="float64"), dtype=T.float32),
         "should be convertible without narrowing to the specified dtype", ("float64", "float32")),
    Case("norm in ints", lambda T: T.linalg.vector_norm(a(T, 3), dtype=T.int32), "dtype should be floating point"),
    Case("vector_norm order", lambda T: T.linalg.vector_norm(a(T, 3), "fro"),
         "'ord' \\(position 2\\) must be Number, not str"),
    Case("largest of no magnitudes", lambda T: T.linalg.vector_norm(a(T, 0), float("inf")),
         "cannot compute the inf norm on an empty tensor because the operation does not have an identity"),
    Case("smallest sum of none", lambda T: T.linalg.matrix_norm(a(T, 3, 0), -1), "non-zero size"),
    Case("matrix_norm order", lambda T: T.linalg.matrix_norm(a(T, 3, 3), 3), "Order 3 not supported"),
    Case("matrix_norm word", lambda T: T.linalg.matrix_norm(a(T, 3, 3), "foo"), "Order foo not supported"),
    Case("matrix_norm of a vector", lambda T: T.linalg.matrix_norm(a(T, 3)), "must have at least 2 dimensions"),
    Case("matrix_norm dims", lambda T: T.linalg.matrix_norm(a(T, 3, 3), dim=(0, -2)),
         "dims must be different", ("-2",)),
    Case("linalg.norm of 3-d", lambda T: T.linalg.norm(a(T, 2, 3, 4), 1),
         "If dim is not specified but ord is, the input must be 1D or 2D. Got 3D."),
    Case("linalg.norm over 3 dims", lambda T: T.linalg.norm(a(T, 2, 3, 4), None, (0, 1, 2)),
         "If dim is specified, it must be of length 1 or 2. Got \\[0, 1, 2\\]"),
    # Elsewhere
    Case("diagonal twice", lambda T: a(T, 3, 3).diagonal(0, 1, -1), "diagonal dimensions cannot be identical 1, -1"),
    Case("diagonal dim", lambda T: a(T, 2, 3).diagonal(0, 0, 2), DIM),
    Case("diag of 3-d", lambda T: T.diag(a(T, 2, 2, 2)), "Supports 1D or 2D tensors. Got 3D"),
    Case("trace of 3-d", lambda T: a(T, 2, 2, 2).trace(), "expected a matrix, but got tensor with dim 3"),
    Case("tril of 1-d", lambda T: T.tril(a(T, 4)), "input tensor must have at least 2 dimensions"),
    Case("triu by half", lambda T: T.triu(a(T, 4, 4), 0.5), "", ("float",)),
    Case("repeat too few", lambda T: a(T, 2, 3).repeat(2),
         "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"),
    Case("repeat less than never", lambda T: a(T, 3).repeat(-1),
         "Trying to create tensor with negative dimension", ("-1",)),
    Case("repeat by half", lambda T: a(T, 3).repeat(1.5), "", ("float",)),
    Case("repeat by nothing", lambda T: a(T, 3).repeat(), "repeat\\(\\).* missing 1 required positional argument"),
    Case("repeat_interleave sizes", lambda T: a(T, 2).repeat_interleave(T.tensor([1, 2, 3])),
         "repeats must have the same size as input along dim, but got repeats.size\\(0\\) = 3 and "
         "input.size\\(0\\) = 2"),
    Case("repeat_interleave negative", lambda T: a(T, 2).repeat_interleave(-1), "", ("-1",)),
    Case("roll nothing", lambda T: a(T, 3).roll(()), "`shifts` required"),
    Case("roll dims", lambda T: a(T, 2, 3).roll((2, 1), 0),
         "shifts and dimensions must align. shifts: 2, dims:1"),
    Case("roll a point", lambda T: T.tensor(1.0).roll(0, 0), "Dimension specified as 0 but tensor has no dimensions"),
    Case("rot90 once", lambda T: a(T, 3, 3).rot90(1, (1, 1)), "expected rotation dims to be different"),
    Case("vstack nothing", lambda T: T.vstack([]), "vstack expects a non-empty TensorList"),
    Case("hstack one", lambda T: T.hstack(a(T, 3)),
         "hstack\\(\\): argument 'tensors' \\(position 1\\) must be tuple of Tensors"),
    Case("dstack numbers", lambda T: T.dstack([1, 2]), "expected Tensor as element 0 in argument 0, but got int"),
    Case("hstack shapes", lambda T: T.hstack([a(T, 2, 3), a(T, 3, 3)]),
         "Sizes of tensors must match except in dimension 1"),
    Case("atleast_2d of a number", lambda T: T.atleast_2d(3), "atleast_2d", ("int",)),
    Case("meshgrid of a matrix", lambda T: T.meshgrid(a(T, 2, 2), indexing="ij"),
         "Expected 0D or 1D tensor in the tensor list"),
    Case("meshgrid dtypes", lambda T: T.meshgrid(a(T, 2), a(T, 2, dtype="int64"), indexing="ij"),
         "meshgrid expects all tensors to have the same dtype"),
    Case("meshgrid indexing", lambda T: T.meshgrid(a(T, 2), indexing="yx"),
         'indexing must be one of "xy" or "ij", but received: yx'),
    Case("broadcast_shapes", lambda T: T.broadcast_shapes((2,), (3,)), "", ("2", "3")),
    Case("tensor_split none", lambda T: a(T, 5).tensor_split(0), "number of sections must be larger than 0, got 0"),
    Case("hsplit unevenly", lambda T: a(T, 2, 5).hsplit(2),
         "attempted to split along dimension 1, but the size of the dimension 5 is not divisible by the split_size 2"),
    Case("aminmax of nothing", lambda T: a(T, 0).aminmax(),
         "cannot compute aminmax over an empty dimension as the operation has no identity"),
    Case("tril_indices", lambda T: T.tril_indices(-2, 3), "must be non-negative", ("-2",)),
    # Dims
    *(
        Case(f"{name} dim {dim}", lambda T, n=name, d=dim: getattr(T, n)(a(T, 2, 3), dim=d), DIM, (str(dim),))
        for name in ("sum", "mean", "amax", "softmax", "argmax", "std")
        for dim in (2, -3)
    ),
    Case("unsqueeze", lambda T: a(T, 2, 3).unsqueeze(4),
         "Dimension out of range \\(expected to be in range of \\[-3, 2\\]"),
    Case("transpose", lambda T: a(T, 2, 3).transpose(0, 2), DIM),
    Case("cat dim", lambda T: T.cat([a(T, 2, 3)], dim=2), DIM),
    Case("max dim", lambda T: a(T, 2, 3).max(dim=5), DIM),
    Case("sum dim twice", lambda T: a(T, 2, 3).sum((0, 0)), "dim 0 appears multiple times in the list of dims"),
    Case("flip dim", lambda T: a(T, 2, 3).flip(7), DIM),
    Case("permute too few", lambda T: a(T, 2, 3).permute(0), "", ("1", "2")),
    Case("permute twice", lambda T: a(T, 2, 3).permute(0, 0), "duplicate|repeat|unique"),
    Case("max of nothing", lambda T: a(T, 0).max(), "Specify the reduction dim with the 'dim' argument"),
    Case("amax of nothing", lambda T: T.amax(a(T, 0, 3), dim=0), "dim"),
    Case("argmax of nothing", lambda T: T.argmax(a(T, 0)), "dim"),
    # Dtypes
    Case("mean of ints", lambda T: a(T, 3, dtype="int64").mean(),
         "could not infer output dtype|must be either a floating point"),
    Case("std of ints", lambda T: a(T, 3, dtype="int64").std(), "floating point"),
    Case("neg of bool", lambda T: -a(T, 3, dtype="bool"),
         "Negation, the `-` operator, on a bool tensor is not supported"),
    Case("sub of bools", lambda T: a(T, 3, dtype="bool") - a(T, 3, dtype="bool"),
         "Subtraction, the `-` operator, with two bool tensors is not supported"),
    Case("distance of bools", lambda T: T.dist(a(T, 3, dtype="bool"), a(T, 3, dtype="bool")),
         "Subtraction, the `-` operator, with two bool tensors is not supported"),
    Case("int in place by float", lambda T: a(T, 3, dtype="int64").mul_(2.5),
         "result type Float can't be cast to the desired output type Long"),
    Case("int divided in place", lambda T: a(T, 3, dtype="int64").div_(2),
         "result type Float can't be cast to the desired output type Long"),
    Case("int to negative power", lambda T: a(T, 3, dtype="int64") ** -1,
         "Integers to negative integer powers are not allowed."),
    Case("dot dtypes", lambda T: T.dot(a(T, 3), a(T, 3, dtype="int64")), "dtype"),
    Case("where condition", lambda T: T.where(a(T, 3), a(T, 3), a(T, 3)), "condition"),
    Case("softmax of ints", lambda T: T.softmax(a(T, 3, dtype="int64"), 0).tolist(), "softmax.* not implemented for"),
    # Shapes and views
    Case("reshape", lambda T: a(T, 2, 3).reshape(4, 2), "shape '\\[4, 2\\]' is invalid for input of size 6"),
    Case("view", lambda T: a(T, 2, 3).view(5), "shape '\\[5\\]' is invalid for input of size 6"),
    Case("view -1", lambda T: a(T, 2, 3).view(4, -1), "shape '\\[4, -1\\]' is invalid for input of size 6"),
    Case("reshape two -1", lambda T: a(T, 2, 3).reshape(-1, -1), "only one dimension can be inferred"),
    Case("reshape -2", lambda T: a(T, 2, 3).reshape(-2, 3), "invalid shape dimension -2"),
    Case("view of transposed", lambda T: a(T, 2, 3).t().view(6),
         "view size is not compatible with input tensor's size and stride"),
    Case("expand", lambda T: a(T, 2, 3).expand(4, 3),
         "The expanded size of the tensor \\(4\\) must match the existing size \\(2\\) at non-singleton "
         "dimension 0"),
    Case("expand fewer", lambda T: a(T, 2, 3).expand(3),
         "the number of sizes provided \\(1\\) must be greater or equal to the number of dimensions in "
         "the tensor \\(2\\)"),
    Case("cat shapes", lambda T: T.cat([a(T, 2, 3), a(T, 2, 4)]),
         "Sizes of tensors must match except in dimension 0"),
    Case("cat nothing", lambda T: T.cat([]), "expected a non-empty list of Tensors"),
    Case("stack shapes", lambda T: T.stack([a(T, 2), a(T, 3)]),
         "stack expects each tensor to be equal size, but got \\[2\\] at entry 0 and \\[3\\] at entry 1"),
    Case("split sizes", lambda T: a(T, 5).split([2, 2]), "split_sizes to sum exactly to 5", ("2",)),
    Case("split by 0", lambda T: a(T, 5).split(-1), "split_size"),
    Case("chunk by 0", lambda T: a(T, 5).chunk(0), "chunk expects `chunks` to be greater than 0, got: 0"),
    Case("flatten", lambda T: a(T, 2, 3).flatten(1, 0), "start_dim cannot come after end_dim"),
    Case("module to a number's GPU", lambda T: T.nn.Linear(1, 1).cuda(1.0), "device'? .*must be", ("float",)),
    # Indices
    Case("index", lambda T: a(T, 2, 3)[2], "index 2 is out of bounds for dimension 0 with size 2"),
    Case("negative index", lambda T: a(T, 2, 3)[0, -4], "index -4 is out of bounds for dimension 1 with size 3"),
    Case("too many indices", lambda T: a(T, 2, 3)[0, 0, 0], "too many indices for tensor of dimension 2"),
    Case("index of 0-d", lambda T: T.tensor(1.0)[0], "invalid index of a 0-dim tensor"),
    Case("slice of strings", lambda T: a(T, 5)["0":"1"], "slice indices must be integers or None"),
    Case("slice of fractions", lambda T: a(T, 5)[0.5:2.5], "slice indices must be integers or None"),
    Case("slice by a tensor of fractions", lambda T: a(T, 5)[:T.tensor(1.5)], "only integer tensors of a single"),
    Case("slice to a fraction set", lambda T: a(T, 5).__setitem__(slice(None, 2.0), 1), "slice indices must be"),
    Case("second index", lambda T: a(T, 2, 3)[0, 5], "index 5 is out of bounds for dimension 1 with size 3"),
    Case("index_put of nothing", lambda T: a(T, 3, dtype="int64").__setitem__(T.tensor([0, 1]), T.tensor([])),
         "shape mismatch: value tensor of shape \\[0\\]"),
    Case("negative step", lambda T: a(T, 5)[::-1], "step must be greater than zero"),
    Case("list index", lambda T: a(T, 2, 3)[[0, 5]].tolist(), "index 5 is out of bounds for dimension 0 with size 2"),
    Case("mask shape", lambda T: a(T, 2, 3)[T.tensor([True, False, True])],
         "The shape of the mask \\[3\\] at index 0 does not match the shape of the indexed tensor \\[2, "
         "3\\] at index 0"),
    Case("lists that do not fit", lambda T: a(T, 4, 4)[[0, 1], [0, 1, 2]],
         "indexing tensors could not be broadcast together with shapes \\[2\\], \\[3\\]"),
    Case("float index", lambda T: a(T, 2, 3)[T.tensor([0.0])], "tensors used as indices must be"),
    Case("number index", lambda T: a(T, 2, 3)[1.5], "only integers, slices .* are valid indices", ("float",)),
    Case("setitem shape", lambda T: a(T, 2, 3).__setitem__(0, a(T, 4)), "", ("4", "3")),
    Case("setitem index", lambda T: a(T, 2, 3).__setitem__(9, 1.0),
         "index 9 is out of bounds for dimension 0 with size 2"),
    Case("iterate 0-d", lambda T: list(T.tensor(1.0)), "iteration over a 0-d tensor"),
    Case("len of 0-d", lambda T: len(T.tensor(1.0)), "len\\(\\) of a 0-d tensor"),
    # One value out of many
    Case("item", lambda T: a(T, 3).item(), "a Tensor with 3 elements cannot be converted to Scalar"),
    Case("bool", lambda T: bool(a(T, 3)), "Boolean value of Tensor with more than one value is ambiguous"),
    Case("bool of nothing", lambda T: bool(a(T, 0)), "Boolean value of Tensor with no values is ambiguous"),
    Case("float", lambda T: float(a(T, 2)), "only one element tensors can be converted to Python scalars"),
    Case("index protocol", lambda T: [1, 2][T.tensor(0.5)],
         "only integer tensors of a single element can be converted to an index"),
    # Making tensors
    Case("ragged", lambda T: T.tensor([[1.0, 2.0], [3.0]]), "expected sequence of length 2 at dim 1 \\(got 1\\)"),
    Case("text", lambda T: T.tensor("abc"), "", ("str",)),
    Case("text in list", lambda T: T.tensor([1.0, "abc"]), "", ("str",)),
    Case("numpy dtype", lambda T: T.from_numpy(np.zeros(2, dtype="U3")),
         "can't convert np.ndarray of type numpy.str_"),
    Case("from_numpy of list", lambda T: T.from_numpy([1.0]), "expected np.ndarray \\(got list\\)"),
    Case("negative size", lambda T: T.ones(-1, 3), "negative dimension -1: \\[-1, 3\\]"),
    Case("arange sign", lambda T: T.arange(3, 0),
         "upper bound and larger bound inconsistent with step sign|bound inconsistent with step sign"),
    Case("arange step", lambda T: T.arange(0, 3, 0), "step must be nonzero"),
    Case("linspace of text", lambda T: T.linspace("a", 1, 3), "linspace\\(\\)", ("str", "'a'")),
    # Arguments of another kind
    Case("dist to a number", lambda T: T.dist(a(T, 3), 2.0), "must be Tensor, not float"),
    Case("rot90 by half", lambda T: a(T, 2, 3).rot90(1.5), "rot90\\(\\)", ("float", "1.5")),
    Case("aminmax dims", lambda T: a(T, 2, 3).aminmax(dim=(0, 1)),
         "aminmax\\(\\): argument 'dim' must be int, not tuple"),
    Case("narrow by floats", lambda T: a(T, 5).narrow(0, 1.0, 2), "", ("float",)),
    Case("narrow to a float", lambda T: a(T, 5).narrow(0, 1, 2.0), "", ("float",)),
    Case("tensor_split at rows", lambda T: a(T, 5).tensor_split(T.tensor([[1]])),
         "to be a zero-dimensional or one-dimensional tensor", ("2 dims",)),
    Case("tensordot by halves", lambda T: T.tensordot(a(T, 2, 3), a(T, 3, 4), dims=1.5),
         "tensordot expects dims to be .*dims=1.5"),
    Case("norm of a wide tensor by name", lambda T: a(T, 2, 3, 4).norm("nuc"), "dim must be a 2-tuple. Got 0 1 2"),
    Case("norm in another half", lambda T: T.linalg.vector_norm(a(T, 3, dtype="bfloat16"), dtype=T.float16),
         "should be convertible without narrowing to the specified dtype", ("bfloat16", "float16")),
    # Values that a dtype does not hold
    Case("masked_fill mask", lambda T: a(T, 3).masked_fill(a(T, 3), 1.0), "only supports boolean masks, but got mask"),
    Case("masked_fill infinite", lambda T: a(T, 3, dtype="int64").masked_fill(a(T, 3) > 0, float("inf")),
         "value cannot be converted to type int64.* without overflow", ("inf",)),
    Case("masked_fill large", lambda T: a(T, 3, dtype="uint8").masked_fill(a(T, 3) > 0, 500),
         "value cannot be converted to type uint8.* without overflow", ("500",)),
    Case("masked_fill text", lambda T: a(T, 3).masked_fill(a(T, 3) > 0, "x"), "", ("str", "'x'")),
    Case("linspace steps", lambda T: T.linspace(0, 1, -2), "number of steps must be non-negative"),
    Case("randint bounds", lambda T: T.randint(5, 5, (2,)),
         "random_ expects 'from' to be less than 'to', but got from=5 >= to=5"),
    Case("device", lambda T: T.zeros(2, device="gpu7"), "", ("gpu7",)),
    Case("to a device", lambda T: T.zeros(2).to("nowhere"), "", ("nowhere",)),
    Case("add text", lambda T: a(T, 3) + "x", "", ("str",)),
    Case("add None", lambda T: None + a(T, 3), "unsupported operand type", ("NoneType",)),
    Case("attribute", lambda T: a(T, 3).no_such_attribute, "no attribute 'no_such_attribute'"),
    Case("function", lambda T: T.no_such_function, "no attribute 'no_such_function'"),
    # Losses
    Case("bce shapes", lambda T: T.nn.functional.binary_cross_entropy(a(T, 3), a(T, 2)),
         "Using a target size \\(torch.Size\\(\\[2\\]\\)\\) that is different to the input size "
         "\\(torch.Size\\(\\[3\\]\\)\\)"),
    Case("bce with logits shapes", lambda T: T.nn.functional.binary_cross_entropy_with_logits(a(T, 3), a(T, 2)),
         "Target size \\(torch.Size\\(\\[2\\]\\)\\) must be the same as input size "
         "\\(torch.Size\\(\\[3\\]\\)\\)"),
    Case("cross entropy batch", lambda T: T.nn.functional.cross_entropy(a(T, 3, 4), a(T, 2, dtype="int64")),
         "Expected input batch_size \\(3\\) to match target batch_size \\(2\\)"),
    Case("reduction", lambda T: T.nn.functional.mse_loss(a(T, 3), a(T, 3), reduction="avg"),
         "avg is not a valid value for reduction"),
    Case("linear", lambda T: T.nn.functional.linear(a(T, 2, 3), a(T, 4, 5)),
         "mat1 and mat2 shapes cannot be multiplied \\(2x3 and 5x4\\)"),
]  # fmt: skip


def refusal(T: Any, case: Case) -> BaseException:
    try:
        result = case.call(T)
    except Exception as error:
        return error
    raise AssertionError(f"{case.name}: {T.__name__} made {result!r} of it")


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_refused_as_pytorch_refuses_it(case: Case) -> None:
    theirs, mine = refusal(torch, case), refusal(mt, case)
    # NotImplementedError, which is a RuntimeError, says only that PyTorch lacks a kernel.
    kinds = {type(theirs)} | ({RuntimeError} if isinstance(theirs, NotImplementedError) else set())
    assert type(mine) in kinds, f"{type(mine).__name__}: {mine}; PyTorch {type(theirs).__name__}: {theirs}"
    assert re.search(case.phrase, str(theirs)), f"PyTorch says {theirs}"
    assert re.search(case.phrase, str(mine)), f"{mine}; PyTorch says {theirs}"
    assert all(word in str(mine) for word in case.named), f"{mine} does not name {case.named}"


@pytest.mark.parametrize("order", [2, -2, "nuc"])
def test_norms_that_need_singular_values(order: Any) -> None:
    """PyTorch has them: a refusal says which orders there are."""
    for call in (mt.linalg.norm, mt.linalg.matrix_norm):
        with pytest.raises(NotImplementedError, match=f"order {order} needs singular values.*'fro', 1, -1"):
            call(mt.ones(3, 3), order)
    if order == "nuc":
        with pytest.raises(NotImplementedError, match="order nuc needs singular values"):
            mt.ones(3, 3).norm("nuc")


def test_einsum_by_numbers() -> None:
    """PyTorch takes lists of axes too: a refusal says what to write instead."""
    with pytest.raises(NotImplementedError, match=r"write an equation, as in einsum\('ij,jk->ik', x, y\)"):
        mt.einsum(mt.ones(2, 3), [0, 1])  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", ["beta", "alpha"])
def test_a_fraction_of_whole_numbers(factor: str) -> None:
    """PyTorch drops the fraction without a word on the CPU."""
    whole = a(mt, 2, 2, dtype="int64")
    with pytest.raises(RuntimeError, match=f"addmm.*argument {factor} must not be a floating point number, got 0.5"):
        mt.addmm(whole, whole, whole, **{factor: 0.5})


@pytest.mark.parametrize(("probability", "target"), [(1.5, 1.0), (1.5, 0.0), (-0.5, 0.0), (-0.5, 1.0), (0.5, 2.0),
                                                     (0.5, -1.0), (1.0, 1.25)])
def test_bce_of_what_is_no_probability(probability: float, target: float, device: str) -> None:
    """Refused on the CPU, as PyTorch does there; elsewhere a look at the values costs too much: the loss says it."""
    for T in (torch, mt):
        if T is mt and device != "cpu":
            loss = mt.nn.functional.binary_cross_entropy(mt.tensor([probability]), mt.tensor([target]))
            assert np.isnan(loss.item())
            continue
        wrong = "target" if 0 <= probability <= 1 else "input"
        with pytest.raises(RuntimeError, match=f"all elements of {wrong} should be between 0 and 1"):
            T.nn.functional.binary_cross_entropy(T.tensor([probability]), T.tensor([target])).item()


def test_bce_of_what_is_no_probability_leaves_no_gradient(device: str) -> None:
    """Where nobody looks at the loss the gradient says it."""
    x = mt.tensor([1.5, 0.5, -0.5, 1.0], requires_grad=True)
    mt.nn.functional.binary_cross_entropy(x, mt.ones(4), reduction="sum").backward()
    np.testing.assert_array_equal(x.grad.tolist(), [np.nan, -2, np.nan, 0])


def test_bce_of_nan(device: str) -> None:
    for T in (torch, mt) if device == "cpu" else ():
        with pytest.raises(RuntimeError, match="all elements of input should be between 0 and 1"):
            T.nn.functional.binary_cross_entropy(T.tensor([np.nan]), T.tensor([1.0])).item()


@pytest.mark.parametrize("target", [7, -1])
def test_a_class_that_does_not_exist(target: int, device: str) -> None:
    """Refused on the CPU; elsewhere the loss is no number: it must not pass for one of the other classes'."""
    for T in (torch, mt):
        if T is mt and device != "cpu":
            assert np.isnan(mt.nn.functional.cross_entropy(mt.zeros(2, 3), mt.tensor([0, target])).item())
            continue
        with pytest.raises(IndexError, match=f"Target {target} is out of bounds."):
            T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([0, target])).item()
