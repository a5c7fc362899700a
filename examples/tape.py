"""The tape: what backward leaves in `.grad`, a linear model updated by hand, and who requires a gradient."""

import microtrain as torch


def gradients():
    print("y = a^3 - b^2: dy/da = 3a^2 = 75, dy/db = -2b = -12")
    a = torch.tensor([5.0], requires_grad=True)
    b = torch.tensor([6.0], requires_grad=True)
    print(a)
    print(b)
    y = a**3 - b**2
    print(y)
    print("before backward:", a.grad, b.grad)
    y.backward()
    print(a.grad)
    print(b.grad)


def linear_model_by_hand():
    print("a linear model and one step of gradient descent")
    W = torch.randn(10, 1, requires_grad=True)
    b = torch.randn(1, requires_grad=True)
    x = torch.rand(1, 10)
    print(W)
    print(b)
    print(x)
    output = torch.matmul(x, W) + b
    print(output)
    loss = 1 - output
    print(loss)
    loss.backward()
    print(W.grad)
    print(b.grad)
    with torch.no_grad():
        W = W - 0.001 * W.grad.data
    print(W)


def who_requires_a_gradient():
    print("c = a b")
    a = torch.tensor(2.0)
    b = torch.tensor(3.0)
    print(a * b)
    a = torch.tensor(2.0, requires_grad=True)
    print(a)
    c = a * b
    print(c)
    c.backward()
    print(a.grad)

    print("e = a b d")
    a = torch.tensor(2.0, requires_grad=True)
    b = torch.tensor(3.0, requires_grad=True)
    d = torch.tensor(4.0, requires_grad=True)
    c = a * b
    e = c * d
    e.backward()
    print(d.grad)
    print(b.grad)
    print(a.grad)


if __name__ == "__main__":
    gradients()
    linear_model_by_hand()
    who_requires_a_gradient()
