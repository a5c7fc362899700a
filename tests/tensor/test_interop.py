"""What other packages' arrays and tensors come to: `where` with one, `from_dlpack`, Triton imported first."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import microtrain as mt
from tests.conftest import DEVICE

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = {"torch.Tensor": torch.ones(3), "numpy.ndarray": np.ones(3, np.float32), "list": [1.0, 2.0, 3.0], "str": "a"}


@pytest.mark.parametrize("kind", FOREIGN)
def test_where_names_the_argument_and_whose_tensor_it_is(kind: str) -> None:
    x = mt.ones(3)
    value = FOREIGN[kind]
    for call, argument in ((lambda: mt.where(value, x, x), r"'condition' \(position 1\) must be Tensor,"),
                           (lambda: mt.where(value), r"'condition' \(position 1\) must be Tensor,"),
                           (lambda: mt.where(x > 0, value, x), r"'input' \(position 2\) must be Tensor or Number,"),
                           (lambda: mt.where(x > 0, x, value), r"'other' \(position 3\) must be Tensor or Number,"),
                           (lambda: mt.where(x > 0, value, value), r"'input' \(position 2\) must be Tensor or Number,"),
                           (lambda: x.where(x > 0, value), r"'other' \(position 3\) must be Tensor or Number,")):
        with pytest.raises(TypeError, match=rf"^where\(\): argument {argument} not {kind}"):
            call()
    with pytest.raises(TypeError, match=rf"'condition' .* must be Tensor, not {kind.removeprefix('numpy.')}"):
        x.where(value, 0.0)
    with pytest.raises(TypeError, match=r"argument 'other' \(position 3\) must be Tensor or Number, not NoneType"):
        mt.where(x > 0, x)


ARRAYS = {
    "array": lambda: np.arange(6.0).reshape(2, 3), "float32": lambda: np.ones((2, 2), np.float32),
    "transposed": lambda: np.arange(6).reshape(2, 3).T, "bool": lambda: np.array([True, False]),
    "empty": lambda: np.ones((0, 3)), "read-only": lambda: np.broadcast_to(np.float32(2), (2, 2)),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("way", ["itself", "torch", "capsule", "ours"])
def test_from_dlpack_copies(name: str, way: str) -> None:
    array = ARRAYS[name]()
    given = {"itself": lambda: array, "torch": lambda: torch.tensor(array), "ours": lambda: mt.tensor(array),
             "capsule": lambda: torch.tensor(array).__dlpack__()}[way]()
    made = mt.from_dlpack(given)
    assert made.dtype == getattr(mt, array.dtype.name) and made.device == mt.default_device()
    assert made.tolist() == array.tolist() and not made.requires_grad
    if way == "torch" and array.size:
        given.zero_()
        assert made.tolist() == array.tolist()


REFUSED = {
    "list": (lambda: [1.0], TypeError, "expected an array with __dlpack__ .* not list"),
    "None": (lambda: None, TypeError, "not NoneType"),
    "a tensor that requires grad": (lambda: torch.ones(2, requires_grad=True), BufferError, "require gradient"),
    "one of ours": (lambda: mt.ones(2, requires_grad=True), BufferError, "require gradient"),
    "bfloat16": (lambda: torch.ones(2, dtype=torch.bfloat16), BufferError, "torch.Tensor cannot be read: .*dtype"),
    "strings": (lambda: np.array(["a"]), TypeError, "numpy.str_"),
    "complex": (lambda: torch.ones(2, dtype=torch.complex64), TypeError, "complex64"),
    "a GPU's": (lambda: type("Array", (), {"__dlpack__": None, "__dlpack_device__": lambda self: (2, 0)})(),
                BufferError, "memory that the host cannot read .*type 2.*copy it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_from_dlpack_says_why_not(name: str) -> None:
    make, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        mt.from_dlpack(make())


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, on the interpret device unless told otherwise."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          env=environment | {"MICROTRAIN_DEVICE": "interpret"} | variables)


@pytest.mark.skipif(DEVICE == "cuda", reason="a process that interprets needs no GPU, virtual or not")
def test_triton_imported_first() -> None:
    """Triton chooses its interpreter as it is imported, for its own functions too; too late is said in one line."""
    code = "import triton, microtrain as mt; print(mt.ones(3).sum().item())"
    done = run(code, TRITON_INTERPRET="1")
    assert done.stdout == "3.0\n", done.stderr
    said = run(code).stderr.splitlines()[-1]
    assert said.startswith("RuntimeError: the interpret device needs") and "import microtrain before triton" in said


MISSING = {"none in its place": "import sys; sys.modules[{0!r}] = None\n", "refused by a finder": """
import sys
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {0!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refusing())
"""}


@pytest.mark.parametrize("missing", MISSING)
def test_the_kernels_command_without_triton(missing: str) -> None:
    code = MISSING[missing].format("triton") + "from microtrain.cli import main; sys.exit(main(['kernels']))"
    done = run(code, MICROTRAIN_DEVICE="cpu")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Triton: pip install 'microtrain[gpu]'" in done.stderr


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("package", ["torch", "triton"])
def test_the_host_needs_neither_torch_nor_triton(package: str, missing: str) -> None:
    code = MISSING[missing].format(package) + """
import microtrain as mt
model = mt.nn.Linear(2, 1)
mt.nn.functional.mse_loss(model(mt.ones(3, 2)), mt.ones(3, 1)).backward()
mt.optim.SGD(model.parameters(), lr=0.1).step()
print(mt.default_device(), mt.cuda.is_available(), mt.cuda.device_count())
"""
    done = run(code, MICROTRAIN_DEVICE="", MICROTRAIN_VIRTUAL_GPU="")
    assert (done.stdout, done.stderr) == ("cpu False 0\n", "")
