"""A tensor knows how it was made, unless it was detached or made without recording."""

import microtrain as torch


def sums():
    x = torch.tensor([1.0, 2.0, 3], requires_grad=True)
    y = torch.tensor([4.0, 5.0, 6], requires_grad=True)
    z = x + y
    print(z)
    print(z.grad_fn)
    s = z.sum()
    print(s)
    print(s.grad_fn)
    s.backward()
    print(x.grad)


def turning_it_on_and_off():
    x = torch.randn(2, 2)
    y = torch.randn(2, 2)
    print(x.requires_grad, y.requires_grad)
    z = x + y
    print(z.grad_fn)
    x.requires_grad_()
    y.requires_grad_()
    z = x + y
    print(z.grad_fn)
    print(z.requires_grad)
    new_z = z.detach()
    print(new_z.grad_fn)
    print(x.requires_grad)
    print((x + 10).requires_grad)
    with torch.no_grad():
        print((x + 10).requires_grad)


def mean_of_a_square():
    x = torch.ones(2, 2, requires_grad=True)
    print(x)
    y = x + 2
    print(y)
    print(y.grad_fn)
    z = y * y * 3
    out = z.mean()
    print(z, out)
    out.backward()
    print(x.grad)


if __name__ == "__main__":
    sums()
    turning_it_on_and_off()
    mean_of_a_square()
