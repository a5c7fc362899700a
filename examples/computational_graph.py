"""The graph behind a value: leaves, the operations that made it, and derivatives read from it."""

import microtrain as torch
from microtrain.autograd import grad


def attributes():
    x = torch.tensor(3.0, requires_grad=True)
    print(x)
    y = 3 * x**2
    print(y)
    y.backward()
    print("Derivative of the equation at x=3 is:", x.grad)

    print("data attribute of the tensor:", x.data)
    print("grad attribute of the tensor::", x.grad)
    print("grad_fn attribute of the tensor::", x.grad_fn)
    print("is_leaf attribute of the tensor::", x.is_leaf)
    print("requires_grad attribute of the tensor::", x.requires_grad)

    print("data attribute of the tensor:", y.data)
    print("grad attribute of the tensor:", y.retain_grad())
    print("grad_fn attribute of the tensor:", y.grad_fn)
    print("is_leaf attribute of the tensor:", y.is_leaf)
    print("requires_grad attribute of the tensor:", y.requires_grad)


def polynomial():
    x = torch.tensor(3.0, requires_grad=True)
    y = 6 * x**2 + 2 * x + 4
    print("Result of the equation is:", y)
    y.backward()
    print("Derivative of the equation at x = 3 is:", x.grad)


def partial_derivatives():
    u = torch.tensor(3.0, requires_grad=True)
    v = torch.tensor(4.0, requires_grad=True)
    f = u**3 + v**2 + 4 * u * v
    print(u)
    print(v)
    print(f)
    f.backward()
    print("Partial Derivative w.r.t. u:", u.grad)
    print("Partial Derivative w.r.t. v:", v.grad)


def nth_derivative(f, wrt, n=2):
    for _ in range(n):
        grads = grad(f, wrt, create_graph=True)[0]
        f = grads.sum()
    return grads


def successive_differentiation():
    x = torch.tensor(5.0, requires_grad=True)
    f = x**2 + x**3
    print(nth_derivative(f, x))


if __name__ == "__main__":
    attributes()
    polynomial()
    partial_derivatives()
    successive_differentiation()
