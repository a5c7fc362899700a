"""Derivatives, partial derivatives and successive derivatives: the tape computes each of them.

A tensor carries `data` (its values), `requires_grad` (whether operations on it are recorded), `grad` (what backward
accumulated), `grad_fn` (the operation that made it) and `is_leaf` (whether it was made by hand).
"""

import microtrain as torch
from microtrain.autograd import grad


def derivative():
    print("a derivative: y = x^2, dy/dx = 2x = 10 at 5")
    x = torch.tensor(5.0, requires_grad=True)
    print(x)
    y = x**2
    print(y)
    y.backward()
    print(x.grad)


def partial_derivatives():
    print("partial derivatives: f = x^2 + y^2 at (5, 5)")
    x = torch.tensor(5.0, requires_grad=True)
    y = torch.tensor(5.0, requires_grad=True)
    f = x**2 + y**2
    print(f)
    f.backward()
    print(f.grad_fn)
    print(x.grad)
    print(y.grad)

    print("partial derivatives: f = x^2 y^3 at (5, 5)")
    x1 = torch.tensor(5.0, requires_grad=True)
    y1 = torch.tensor(5.0, requires_grad=True)
    f2 = x1**2 * y1**3
    f2.backward()
    print(f2.grad_fn)
    print(x1.grad)
    print(y1.grad)


def nth_derivative(f, wrt, n=2):
    for _ in range(n):
        grads = grad(f, wrt, create_graph=True)[0]
        f = grads.sum()
    return grads


def successive_derivatives():
    print("the second derivative: f = x^2 + x^3, f'' = 2 + 6x = 32 at 5")
    x2 = torch.tensor(5.0, requires_grad=True)
    f2 = x2**2 + x2**3
    print(nth_derivative(f2, x2))


if __name__ == "__main__":
    print("a GPU is at hand:", torch.cuda.is_available())
    derivative()
    partial_derivatives()
    successive_derivatives()
