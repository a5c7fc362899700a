"""The examples run and print what they promise."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# What each prints, in this order, with | between; lines of random numbers lie there too.
EXPECTED = {
    "derivatives.py": """
        tensor(5., requires_grad=True) | tensor(25., grad_fn=<PowBackward0>) | tensor(10.) |
        tensor(50., grad_fn=<AddBackward0>) | <AddBackward0 | tensor(10.) | tensor(10.) | <MulBackward0 |
        tensor(1250.) | tensor(1875.) | tensor(32., grad_fn=<AddBackward0>)""",
    "tape.py": """
        tensor([5.], requires_grad=True) | tensor([6.], requires_grad=True) | tensor([89.], grad_fn=<SubBackward0>) |
        before backward: None None | tensor([75.]) | tensor([-12.]) | grad_fn=<AddBackward0>) |
        grad_fn=<RsubBackward1>) | tensor([-1.]) | tensor(6.) | tensor(2., requires_grad=True) |
        tensor(6., grad_fn=<MulBackward0>) | tensor(3.) | tensor(6.) | tensor(8.) | tensor(12.)""",
    "perceptron_by_hand.py": """
        4 | 6 | -2.6145744834544478 | tensor(3., requires_grad=True) | tensor(9., grad_fn=<PowBackward0>) | tensor(6.) |
        x is : 3.0. | y is : 9.0. | z is : 0.4121184 | tensor(-5.4668) | tensor(6.7012) |
        Manual gradient of loss w.r.t weight (dw) : 6.6917 | Manual gradient of loss w.r.t bias (db) : 0.99877 |
        tensor(1., requires_grad=True) | tensor(0., requires_grad=True) | tensor(0.9988, grad_fn=<SigmoidBackward0>) |
        tensor(6.7012, grad_fn=<NegBackward0>) | tensor(6.6918) | tensor(0.9988) |
        tensor([1., 2., 3.], requires_grad=True) | tensor(4.6667, grad_fn=<MeanBackward0>) |
        tensor([0.6667, 1.3333, 2.0000]) | tensor(4.) | tensor(0.) | tensor(2., grad_fn=<AddBackward0>) |
        tensor(0.8808, grad_fn=<SigmoidBackward0>) | tensor(-5.8731, grad_fn=<NegBackward0>) | tensor(4.) |
        RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn""",
    "computational_graph.py": """
        tensor(3., requires_grad=True) | tensor(27., grad_fn=<MulBackward0>) |
        Derivative of the equation at x=3 is: tensor(18.) | data attribute of the tensor: tensor(3.) |
        grad attribute of the tensor:: tensor(18.) | grad_fn attribute of the tensor:: None |
        is_leaf attribute of the tensor:: True | requires_grad attribute of the tensor:: True |
        data attribute of the tensor: tensor(27.) | grad attribute of the tensor: None |
        grad_fn attribute of the tensor: <MulBackward0 object at 0x | is_leaf attribute of the tensor: False |
        requires_grad attribute of the tensor: True | Result of the equation is: tensor(64., grad_fn=<AddBackward0>) |
        Derivative of the equation at x = 3 is: tensor(38.) | tensor(91., grad_fn=<AddBackward0>) |
        Partial Derivative w.r.t. u: tensor(43.) | Partial Derivative w.r.t. v: tensor(20.) |
        tensor(32., grad_fn=<AddBackward0>)""",
    "history_of_a_tensor.py": """
        tensor([5., 7., 9.], grad_fn=<AddBackward0>) | <AddBackward0 object at 0x |
        tensor(21., grad_fn=<SumBackward0>) | <SumBackward0 object at 0x | tensor([1., 1., 1.]) | False False | None |
        <AddBackward0 object at 0x | True | None | True | True | False | tensor([[1., 1.], |
        [1., 1.]], requires_grad=True) | tensor([[3., 3.], | [3., 3.]], grad_fn=<AddBackward0>) | tensor([[27., 27.], |
        [27., 27.]], grad_fn=<MulBackward0>) tensor(27., grad_fn=<MeanBackward0>) | tensor([[4.5000, 4.5000], |
        [4.5000, 4.5000]])""",
}


def run(name, capsys):
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("name", EXPECTED)
def test_example_prints_what_it_promises(name, capsys):
    printed = run(name, capsys)
    if " device='" in printed:  # off the CPU a repr names the device, as PyTorch's does
        printed = re.sub(r", device='[^']*'", "", printed)
    lines = iter(printed.splitlines())
    for wanted in " ".join(EXPECTED[name].split("\n")).split(" | "):
        wanted = wanted.strip()
        assert any(wanted in line for line in lines), f"'{wanted}' is missing, or out of order, in:\n{printed}"


def test_every_example_is_tested():
    others = {"custom_kernel.py", "train_perceptron.py", "train_regression.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*EXPECTED, *others}


def test_custom_kernel_is_proven():
    """In a process of its own: a process interprets kernels or compiles them."""
    path = [str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MICROTRAIN", "TRITON"))}
    done = subprocess.run([sys.executable, EXAMPLES / "custom_kernel.py"], capture_output=True, text=True, check=False,
                          env={**environment, "PYTHONPATH": os.pathsep.join(path)})
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("silu_mul"))
    (value, tried), (gradient, also) = (map(int, found) for found in re.findall(r"(\d+)/(\d+)", row))
    assert value == tried >= 30 and gradient == also >= 30


def test_custom_kernel_is_short():
    """What a user writes himself: two kernels, two operations, an oracle, a proof."""
    text = (EXAMPLES / "custom_kernel.py").read_text()
    own = [line for line in text[text.index("@triton.jit"):].splitlines() if line.strip()]
    assert len(own) < 40


def test_train_perceptron(capsys):
    printed = run("train_perceptron.py", capsys)
    assert float(re.search(r"held-out accuracy (\S+)", printed)[1]) >= 0.95


def test_train_regression(capsys):
    printed = run("train_regression.py", capsys)
    ours = float(re.search(r"held-out R² (\S+)", printed)[1])
    exact = float(re.search(r"closed form R² (\S+)", printed)[1])
    assert abs(ours - exact) <= 0.02
