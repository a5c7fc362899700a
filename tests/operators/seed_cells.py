"""Five notebooks on PyTorch's autograd, cell by cell, with the output that each cell printed.

`torch` is bound to microtrain when they are replayed. Left out: shell commands, and imports of pandas and Matplotlib
that no cell uses. Outputs of random numbers are patterns; so are the last digits of a float32 printed in full, which
depend on the library's exponential, and whether there is a GPU.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

NUMBER = r"-?\d+\.\d*(?:e[+-]\d+)?"
FOUR_DIGITS = r" ?-?\d\.\d{4}"


@dataclass(frozen=True)
class Raises:
    """The cell ended in this error."""

    type: str
    text: str


Expected = str | re.Pattern[str] | Raises | None


class Cell(NamedTuple):
    code: str
    expected: Expected = None


def column(numbers: int, tail: str = "") -> re.Pattern[str]:
    """The print of a random column vector, one number a line."""
    rows = r",\n        ".join([rf"\[{FOUR_DIGITS}\]"] * numbers)
    return re.compile(rf"tensor\(\[{rows}\]{tail}\)")


SUCCESSIVE_DERIVATIVES = [
    Cell("x1 = torch.tensor(5.0,requires_grad=True)\ny1 = torch.tensor(5.0,requires_grad=True)"),
    Cell("f2 = x1**2 * y1**3"),
    Cell("f2.backward()"),
    Cell("f2.grad_fn", "<MulBackward0 at 0x0>"),
    Cell("x1.grad", "tensor(1250.)"),
    Cell("y1.grad", "tensor(1875.)"),
    Cell("""from torch.autograd import grad
def nth_derivative(f,wrt,n=2): # n=2 means second order derivative
  for i in range(n):
    grads= grad(f,wrt,create_graph=True)[0]
    f = grads.sum()
  return grads
x2 = torch.tensor(5.0,requires_grad=True)
f2 = x2**2 + x2**3
nth_derivative(f2,x2) # 2nd order derivative = 2+3x""",
        "tensor(32., grad_fn=<AddBackward0>)",
    ),
]

PYTORCH_AUTOGRAD = [
    Cell("import torch\nimport numpy as np"),
    Cell("torch.cuda.is_available()", re.compile("True|False")),
    Cell("x = torch.tensor(5.0,requires_grad=True)\nx", "tensor(5., requires_grad=True)"),
    Cell("y = x**2\ny", "tensor(25., grad_fn=<PowBackward0>)"),
    Cell("y.backward()\nx.grad", "tensor(10.)"),
    Cell("x = torch.tensor(5.0,requires_grad=True)\ny = torch.tensor(5.0,requires_grad=True)"),
    Cell("f = x**2 + y**2"),
    Cell("f", "tensor(50., grad_fn=<AddBackward0>)"),
    Cell("f.backward()"),
    Cell("f.grad_fn", "<AddBackward0 at 0x0>"),
    Cell("x.grad # partial derivative wrt at x=5 and y=5", "tensor(10.)"),
    Cell("y.grad # partial derivative wrt at x=5 and y=5", "tensor(10.)"),
    *SUCCESSIVE_DERIVATIVES,
]

AUTOGRAD_PACKAGE = [
    Cell("import numpy as np\n\nimport torch"),
    Cell("#Initialize tensors a & b\na = torch.tensor([5.], requires_grad = True)\n"
         "b = torch.tensor([6.], requires_grad = True)"),
    Cell("# a and b are defined and we can check.\na", "tensor([5.], requires_grad=True)"),
    Cell("b", "tensor([6.], requires_grad=True)"),
    Cell("#Define a function y in terms of a and b\ny = a**3 - b**2"),
    Cell("#Check y\nprint(y)", "tensor([89.], grad_fn=<SubBackward0>)"),
    Cell("print(a.grad)", "None"),
    Cell("print(b.grad)", "None"),
    Cell("y.backward()"),
    Cell("print(a.grad)", "tensor([75.])"),
    Cell("print(b.grad)", "tensor([-12.])"),
    Cell("#################------EXAMPLE------#################"),
    Cell("#Initialize a random vector W ('For Weights')\nW = torch.randn(10, 1, requires_grad = True)\n\n"
         "#Initialize another random vector b ('For bias')\nb = torch.randn(1, requires_grad = True)"),
    Cell("W", column(10, ", requires_grad=True")),
    Cell("b", re.compile(rf"tensor\(\[{NUMBER}\], requires_grad=True\)")),
    Cell("#Initialize x ('For Features')\nx = torch.rand(1, 10)"),
    Cell("x", re.compile(rf"tensor\(\[\[({NUMBER}, ){{8}}{NUMBER},\n         {NUMBER}\]\]\)")),
    Cell("output = torch.matmul(x, W) + b"),
    Cell("output", re.compile(rf"tensor\(\[\[{NUMBER}\]\], grad_fn=<AddBackward0>\)")),
    Cell("loss = 1 - output"),
    Cell("loss", re.compile(rf"tensor\(\[\[{NUMBER}\]\], grad_fn=<RsubBackward1>\)")),
    Cell("loss.backward()"),
    Cell("W.grad", column(10)),
    Cell("(W.grad.t() == -x).all().item()", "True"),
    Cell("b.grad", "tensor([-1.])"),
    Cell("#Updating weights \nwith torch.no_grad():\n    W = W - 0.001 * W.grad.data"),
    Cell("W", column(10)),
    Cell('#Create two new tensors without "requires_grad = True"\na = torch.tensor(2.0)\nb = torch.tensor(3.0)'),
    Cell("a", "tensor(2.)"),
    Cell("b", "tensor(3.)"),
    Cell("c = a * b"),
    Cell("c", "tensor(6.)"),
    Cell("c.requires_grad", "False"),
    Cell("c.is_leaf", "True"),
    Cell("a = torch.tensor(2.0, requires_grad = True)"),
    Cell("a", "tensor(2., requires_grad=True)"),
    Cell("c = a * b"),
    Cell("c", "tensor(6., grad_fn=<MulBackward0>)"),
    Cell("c.backward()"),
    Cell("a.grad", "tensor(3.)"),
    Cell("a = torch.tensor(2.0, requires_grad = True)\nb = torch.tensor(3.0, requires_grad = True)"),
    Cell("c = a * b"),
    Cell("d = torch.tensor(4.0, requires_grad = True)"),
    Cell("e = c * d"),
    Cell("e.backward()"),
    Cell("d.grad", "tensor(6.)"),
    Cell("b.grad", "tensor(8.)"),
    Cell("a.grad", "tensor(12.)"),
]

BINARY_CROSS_ENTROPY = """# Binary Cross Entropy Loss for scalar
def binary_cross_entropy_loss(prediction, target):
    epsilon = 1e-8 # To prevent log(0)
    prediction = torch.clamp(prediction, epsilon, 1 - epsilon)
    return -(target * torch.log(prediction) + (1- target) * torch.log(1- prediction))"""

MANUAL_GRADIENT = """# Derivatives:
# 1. dL/d(y_pred): Loss with respect to the prediction (y_pred)
dloss_dy_pred = (y_pred - y)/(y_pred * (1 - y_pred))

# 2. dy_pred/dz = prediction (y_pred) with respect to z(sigmoid derivative)
dy_pred_dz = y_pred * (1-y_pred)

# 3. dz/dw and dz/db : z with respect to w and b
dz_dw = x
dz_db = 1

dL_dw = dloss_dy_pred * dy_pred_dz * dz_dw
dL_db = dloss_dy_pred * dy_pred_dz * dz_db"""

AUTOGRAD_PERCEPTRON = [
    Cell("def dy_dx(x):\n    return 2*x\n\ndy_dx(2)", "4"),
    Cell("dy_dx(3)", "6"),
    Cell("import math\n\ndef dz_dx(x):\n    return 2 * x * math.cos(x**2)\n\nprint(dz_dx(2))", "-2.6145744834544478"),
    Cell("# Example 1\nimport torch \n\nx = torch.tensor(3.0, requires_grad = True) # Requires Gradient"),
    Cell("y = x ** 2"),
    Cell("x", "tensor(3., requires_grad=True)"),
    Cell("y", "tensor(9., grad_fn=<PowBackward0>)"),
    Cell("y.backward() # It wil calculate all the gradients"),
    Cell("x.grad # it will print the gradients", "tensor(6.)"),
    Cell("# Example 2\n# y = x ** 2, z = sin(y)\n\nimport torch \n\nx = torch.tensor(3.0, requires_grad = True)\n\n"
         "y = x ** 2"),
    Cell("z = torch.sin(y)"),
    Cell('print(f"x is : {x}.\\n y is : {y}.\\n z is : {z}.")',
         re.compile(r"x is : 3\.0\.\n y is : 9\.0\.\n z is : 0\.4121184\d+\.")),
    Cell("z.backward()"),
    Cell("x.grad", "tensor(-5.4668)"),
    Cell("# Example 3 \n# Perceptron for CGPA and placement prediction \nimport torch \n\n"
         "x = torch.tensor(6.7) # Input feature\ny = torch.tensor(0.0) # Groud Truth\n\n"
         "w = torch.tensor(1.0) # Weight\nb = torch.tensor(0.0) # Bias"),
    Cell(BINARY_CROSS_ENTROPY),
    Cell("# Forward pass\nz = w * x + b\ny_pred = torch.sigmoid(z)\n\n"
         "# Compute Binary Cross-Entropy Loss\nloss = binary_cross_entropy_loss(y_pred, y)"),
    Cell("loss", "tensor(6.7012)"),
    Cell(MANUAL_GRADIENT),
    Cell('print(f"Manual radiant of loss w.r.t weight (dw) : {dL_dw}")\n'
         'print(f"Manual Gradient of loss w.r.t bias (db) : {dL_db}")',
         re.compile(
         r"Manual radiant of loss w\.r\.t weight \(dw\) : 6\.69176\d+\n"
         r"Manual Gradient of loss w\.r\.t bias \(db\) : 0\.998770\d+"
         )),
    Cell("# Now let's do the same with torch \n\nx = torch.tensor(6.7)\ny = torch.tensor(0.0)"),
    Cell("w = torch.tensor(1.0, requires_grad = True)\nb = torch.tensor(0.0, requires_grad=True)"),
    Cell("w", "tensor(1., requires_grad=True)"),
    Cell("b", "tensor(0., requires_grad=True)"),
    Cell("z = w * x + b\nz", "tensor(6.7000, grad_fn=<AddBackward0>)"),
    Cell("y_pred = torch.sigmoid(z)\ny_pred", "tensor(0.9988, grad_fn=<SigmoidBackward0>)"),
    Cell("loss = binary_cross_entropy_loss(y_pred, y)\nloss", "tensor(6.7012, grad_fn=<NegBackward0>)"),
    Cell("loss.backward()"),
    Cell("print(w.grad)\nprint(b.grad)", "tensor(6.6918)\ntensor(0.9988)"),
    Cell("# Another example\n\nx = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)\nx",
         "tensor([1., 2., 3.], requires_grad=True)"),
    Cell("y = (x**2).mean()\ny", "tensor(4.6667, grad_fn=<MeanBackward0>)"),
    Cell("y.backward()"),
    Cell("x.grad", "tensor([0.6667, 1.3333, 2.0000])"),
    Cell("x = torch.tensor(2.0, requires_grad =True)\nx", "tensor(2., requires_grad=True)"),
    Cell("y = x ** 2\ny", "tensor(4., grad_fn=<PowBackward0>)"),
    Cell("y.backward()"),
    Cell("x.grad", "tensor(4.)"),
    Cell("x.grad.zero_() # doing inplace changes and making the grad = 0", "tensor(0.)"),
    Cell("x = torch.tensor(2.0, requires_grad = True)\ny = x ** 2\n\n"
         "w = torch.tensor(1.0, requires_grad=True)\nb = torch.tensor(0.0, requires_grad=True)"),
    Cell("z = w * x + b\nz", "tensor(2., grad_fn=<AddBackward0>)"),
    Cell("y_pred = torch.sigmoid(z)\ny_pred", "tensor(0.8808, grad_fn=<SigmoidBackward0>)"),
    Cell("loss = binary_cross_entropy_loss(y_pred, y)\nloss", "tensor(-5.8731, grad_fn=<NegBackward0>)"),
    Cell("loss.backward()"),
    Cell("x = torch.tensor(2.0, requires_grad = True)\nx", "tensor(2., requires_grad=True)"),
    Cell("with torch.no_grad():\n    y = x ** 2"),
    Cell("y", "tensor(4.)"),
    Cell("y.backward()",
         Raises("RuntimeError", "element 0 of tensors does not require grad and does not have a grad_fn")),
]

DIFFERENTIATION = [
    Cell("# import libraries\nimport numpy as np\nimport torch"),
    Cell("x = torch.tensor(3.0, requires_grad=True)\nprint(x)", "tensor(3., requires_grad=True)"),
    Cell("y = 3*x**2\n\nprint(y)", "tensor(27., grad_fn=<MulBackward0>)"),
    Cell('y.backward()\nprint("Derivative of the equation at x=3 is:", x.grad)',
         "Derivative of the equation at x=3 is: tensor(18.)"),
    Cell("""print('data attribute of the tensor:',x.data)
print('grad attribute of the tensor::',x.grad)
print('grad_fn attribute of the tensor::',x.grad_fn)
print("is_leaf attribute of the tensor::",x.is_leaf)
print("requires_grad attribute of the tensor::",x.requires_grad)""",
        """data attribute of the tensor: tensor(3.)
grad attribute of the tensor:: tensor(18.)
grad_fn attribute of the tensor:: None
is_leaf attribute of the tensor:: True
requires_grad attribute of the tensor:: True"""),
    Cell("""print('data attribute of the tensor:',y.data)
print('grad attribute of the tensor:',y.retain_grad())
print('grad_fn attribute of the tensor:',y.grad_fn)
print("is_leaf attribute of the tensor:",y.is_leaf)
print("requires_grad attribute of the tensor:",y.requires_grad)""",
        """data attribute of the tensor: tensor(27.)
grad attribute of the tensor: None
grad_fn attribute of the tensor: <MulBackward0 object at 0x0>
is_leaf attribute of the tensor: False
requires_grad attribute of the tensor: True"""),
    Cell("""x = torch.tensor(3.0, requires_grad=True)
y = 6*x**2 + 2*x + 4
print("Result of the equation is:", y)
y.backward()
print("Derivative of the equation at x = 3 is:", x.grad)""",
        """Result of the equation is: tensor(64., grad_fn=<AddBackward0>)
Derivative of the equation at x = 3 is: tensor(38.)"""),
    Cell("""u = torch.tensor(3.0, requires_grad=True)
v = torch.tensor(4.0, requires_grad=True)

f = u**3 + v**2 + 4*u*v

print(u)
print(v)
print(f)

f.backward()

print("Partial Derivative w.r.t. u:", u.grad)
print("Partial Derivative w.r.t. v:", v.grad)""",
        """tensor(3., requires_grad=True)
tensor(4., requires_grad=True)
tensor(91., grad_fn=<AddBackward0>)
Partial Derivative w.r.t. u: tensor(43.)
Partial Derivative w.r.t. v: tensor(20.)"""),
    Cell("from torch.autograd import grad"),
    Cell("""def nth_derivative(f, wrt, n=2):
    for i in range(n):
        grads = grad(f, wrt, create_graph=True)[0]
        f = grads.sum()
        
    return grads"""  # noqa: W293
    ),
    Cell("x = torch.tensor(5.0, requires_grad=True)"),
    Cell("f = x**2 + x**3"),
    Cell("# double derivative\nnth_derivative(f,x)", "tensor(32., grad_fn=<AddBackward0>)"),
]

COMPUTATION_GRAPHS = [
    Cell("""# If requires_grad = True, the tensor object keeps track of how it was created
import torch

x = torch.tensor([1., 2., 3], requires_grad=True)
y = torch.tensor([4., 5., 6], requires_grad=True)

# Notice that both of x and y have their required_grad to true, therefore we an comoute gradients with respect to them
z = x + y
print(z)

# z knows that it was created as a result of addition of x and y, It knows that it wasn't read in from a file
print(z.grad_fn)
# And if we fo further on this
s = z.sum()
print(s)
print(s.grad_fn)""",
        """tensor([5., 7., 9.], grad_fn=<AddBackward0>)
<AddBackward0 object at 0x0>
tensor(21., grad_fn=<SumBackward0>)
<SumBackward0 object at 0x0>"""),
    Cell("# Now if we backpropagate on s, we can find the gradients of s with respect to x:\n"
         "s.backward()\nprint(x.grad)",
         "tensor([1., 1., 1.])"),
    Cell("""# By default, Tensors have `requires_grad = False`
x = torch.randn(2, 2)
y = torch.randn(2, 2)
print(x.requires_grad, y.requires_grad)
z = x + y

# So you can't backprop through z
print(z.grad_fn)

# Another way to set the required_grad is true:
x.requires_grad_()
y.requires_grad_()

# z contains enough information to compute gradients, as we saw above
z = x + y
print(z.grad_fn)

# If any input to an operation has ``requires_grad=True``, so will the output
print(z.requires_grad)

# Now z has the computation history that relates itself to x and y
# Can we just take its values, and **detach** it from its history?

new_z = z.detach()
print(new_z.grad_fn)
# ... does new_z have information to backprop to x and y?
# NO!

print(x.requires_grad)
print((x + 10).requires_grad)

with torch.no_grad():
    print((x + 10).requires_grad)""",
        "False False\nNone\n<AddBackward0 object at 0x0>\nTrue\nNone\nTrue\nTrue\nFalse",
    ),
    Cell("""# last example:
x = torch.ones(2,2, requires_grad=True)
print(x)
y = x + 2
print(y)
print(y.grad_fn)
z = y * y * 3
out = z.mean()
print(z, out)
out.backward()
print(x.grad)""",
        """tensor([[1., 1.],
        [1., 1.]], requires_grad=True)
tensor([[3., 3.],
        [3., 3.]], grad_fn=<AddBackward0>)
<AddBackward0 object at 0x0>
tensor([[27., 27.],
        [27., 27.]], grad_fn=<MulBackward0>) tensor(27., grad_fn=<MeanBackward0>)
tensor([[4.5000, 4.5000],
        [4.5000, 4.5000]])"""),
]

NOTEBOOKS: dict[str, list[Cell]] = {
    "PyTorch_AutoGrad": PYTORCH_AUTOGRAD,
    "autograd package": AUTOGRAD_PACKAGE,
    "autograd perceptron": AUTOGRAD_PERCEPTRON,
    "differentiation in autograd": DIFFERENTIATION,
    "computation graphs": COMPUTATION_GRAPHS,
}
