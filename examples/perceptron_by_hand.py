"""A perceptron of one weight: its gradient by hand and by the tape; clearing gradients; recording nothing."""

import math

import microtrain as torch


def by_hand():
    print("derivatives written by hand")
    print((lambda x: 2 * x)(2))
    print((lambda x: 2 * x)(3))
    print((lambda x: 2 * x * math.cos(x**2))(2))


def by_the_tape():
    print("y = x^2")
    x = torch.tensor(3.0, requires_grad=True)
    y = x**2
    print(x)
    print(y)
    y.backward()
    print(x.grad)

    print("z = sin(x^2)")
    x = torch.tensor(3.0, requires_grad=True)
    y = x**2
    z = torch.sin(y)
    print(f"x is : {x}.\n y is : {y}.\n z is : {z}.")
    z.backward()
    print(x.grad)


def binary_cross_entropy_loss(prediction, target):
    epsilon = 1e-8  # keeps log away from 0
    prediction = torch.clamp(prediction, epsilon, 1 - epsilon)
    return -(target * torch.log(prediction) + (1 - target) * torch.log(1 - prediction))


def perceptron():
    print("a perceptron: grade point average to placement")
    x = torch.tensor(6.7)  # input feature
    y = torch.tensor(0.0)  # ground truth
    w = torch.tensor(1.0)
    b = torch.tensor(0.0)
    z = w * x + b
    y_pred = torch.sigmoid(z)
    print(binary_cross_entropy_loss(y_pred, y))

    dloss_dy_pred = (y_pred - y) / (y_pred * (1 - y_pred))
    dy_pred_dz = y_pred * (1 - y_pred)
    dz_dw, dz_db = x, 1
    print(f"Manual gradient of loss w.r.t weight (dw) : {dloss_dy_pred * dy_pred_dz * dz_dw}")
    print(f"Manual gradient of loss w.r.t bias (db) : {dloss_dy_pred * dy_pred_dz * dz_db}")

    w = torch.tensor(1.0, requires_grad=True)
    b = torch.tensor(0.0, requires_grad=True)
    print(w)
    print(b)
    y_pred = torch.sigmoid(w * x + b)
    print(y_pred)
    loss = binary_cross_entropy_loss(y_pred, y)
    print(loss)
    loss.backward()
    print(w.grad)
    print(b.grad)


def vectors_and_clearing():
    print("the gradient of a mean")
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    print(x)
    y = (x**2).mean()
    print(y)
    y.backward()
    print(x.grad)

    print("gradients accumulate until they are cleared")
    x = torch.tensor(2.0, requires_grad=True)
    print(x)
    y = x**2
    print(y)
    y.backward()
    print(x.grad)
    print(x.grad.zero_())


def recording_nothing():
    print("a target on the tape")
    x = torch.tensor(2.0, requires_grad=True)
    y = x**2
    w = torch.tensor(1.0, requires_grad=True)
    b = torch.tensor(0.0, requires_grad=True)
    z = w * x + b
    print(z)
    y_pred = torch.sigmoid(z)
    print(y_pred)
    loss = binary_cross_entropy_loss(y_pred, y)
    print(loss)
    loss.backward()

    print("no tape, no backward")
    x = torch.tensor(2.0, requires_grad=True)
    print(x)
    with torch.no_grad():
        y = x**2
    print(y)
    try:
        y.backward()
    except RuntimeError as error:
        print(f"RuntimeError: {error}")


if __name__ == "__main__":
    by_hand()
    by_the_tape()
    perceptron()
    vectors_and_clearing()
    recording_nothing()
