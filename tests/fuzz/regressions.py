"""Programs that once left here something else than in PyTorch."""

REGRESSIONS = {
    "what leads to a view made without recording is not visited for it": """
        v0 = T.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
        with T.no_grad(): v1 = v0[:1]
        v2 = v1 * v0
        v2.retain_grad()
        v3 = T.tensor([1.0], dtype=dtype, requires_grad=True)
        v4 = [T.ones(1, dtype=dtype), T.ones(2, dtype=dtype)]
        v5 = T.autograd.grad([v3 * 2, v2 * 3], [v3, v1], v4, allow_unused=True)""",
    "what is put by indices has the dtype that it is put into, but for a number where a mask holds": """
        v0 = T.tensor([1, 2, 3])
        with attempt(): v0[[0, 1]] = T.tensor([1.5, 2.5])
        with attempt(): v0[T.tensor([0])] = T.tensor(1.5)
        with attempt(): v0[v0 > 1] = T.tensor([1.5, 2.5])
        v0[v0 > 1] = T.tensor(2.5)
        v0[:1] = T.tensor([7.5])
        with attempt(): v0[T.tensor([0], dtype=T.int16)]""",
    "alpha changes no dtype": """
        v0 = T.tensor([True, False])
        v1 = T.add(v0, v0, alpha=2)
        v2 = T.tensor([1, 2])
        with attempt(): T.add(v2, v2, alpha=0.5)
        with attempt(): T.sub(v2, v2, alpha=True)
        v5 = T.add(T.tensor([1.0], dtype=T.float64), v2, alpha=0.1)
        v6 = T.sub(T.tensor([1], dtype=T.uint8), T.tensor([3], dtype=T.uint8), alpha=2)""",
    "no relu of truths, and masks are truths": """
        v0 = T.tensor([True, False])
        with attempt(): v0.relu()
        with attempt(): T.tensor([1.0, 2.0]).masked_fill(T.tensor([1.0, 0.0]), 2)
        with attempt(): v0.argmax()
        with attempt(): v0.std()""",
    "a 0-d integer as an index gives a view": """
        v0 = T.tensor([1.0, 2.0, 3.0], dtype=dtype)
        v1 = v0[T.tensor(1)]
        v2 = v0[T.tensor(-1, dtype=T.int8)]
        v0 *= 2
        v1 += 1""",
    "what is copied broadcasts, what is assigned may have axes in front": """
        v0 = T.ones((2, 3), dtype=dtype)
        with attempt(): v0.copy_(T.zeros((1, 2, 3), dtype=dtype))
        with attempt(): v0.copy_(T.zeros((2, 2), dtype=dtype))
        with attempt(): v0[...] = T.zeros((2, 2), dtype=dtype)
        with attempt(): v0[0] = T.zeros((2, 3), dtype=dtype)
        v0[1:] = T.zeros((1, 1, 1, 3), dtype=dtype)""",
    "indices of what has no axes": """
        v0 = T.tensor(1.0, dtype=dtype)
        with attempt(): v0[0]
        with attempt(): v0[:]
        with attempt(): v0[T.tensor(0)]
        with attempt(): v0[..., 0]
        with attempt(): v0[[0]]""",
    "gradients are asked for in vain, each in its own words": """
        v0 = T.ones(1, dtype=dtype, requires_grad=True)
        v1 = T.ones(1, dtype=dtype)
        with attempt(): T.autograd.grad([v0 * 1], [v0 * 2], [v1])
        with attempt(): T.autograd.grad([v1], [v1], [v1])
        with attempt(): T.autograd.grad([v0 * 1], [v1], [v1])
        with attempt(): T.autograd.grad([v0 * 1], [v1], [T.ones(2, dtype=dtype)])
        with attempt(): (v0 * 1).backward(inputs=[v1])
        with attempt(): T.ones(2, dtype=dtype).backward(T.ones(3, dtype=dtype))""",
    "a value overwritten by a constant still requires grad": """
        v0 = T.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
        v1 = v0 * 2
        v1.copy_(T.tensor([3.0, 4.0], dtype=dtype))
        v2 = v0 * 3
        v2[...] = T.tensor(1.0, dtype=dtype)
        (v1 * v2).sum().backward()""",
    "what was overwritten need not be walked again": """
        v0 = T.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
        v1 = v0.clone()
        v1.fill_(0.5)
        v2 = v1[0].clone()
        v2.backward()
        (v2 + v1 * v0).sum().backward()""",
    "a clamp keeps its operand, not its result": """
        v0 = T.tensor([-1.0, 0.25, 0.5, 2.0], dtype=dtype, requires_grad=True)
        v1 = v0.clamp(-0.5, 0.5)
        v1 *= 2
        v2 = v0.clamp(T.tensor(1.0, dtype=dtype), T.tensor(0.0, dtype=dtype))
        v2 += 1
        (v1 + v2).sum().backward()""",
    "the gradient of a clamp does not depend on what was clamped": """
        v0 = T.tensor([-1.0, 0.25], dtype=dtype, requires_grad=True)
        v1 = T.autograd.grad(v0.clamp(max=0.5).sum(), v0, create_graph=True)[0]""",
    "the gradient of relu is recorded": """
        v0 = T.tensor([-1.0, 0.0, 0.25], dtype=dtype, requires_grad=True)
        v1 = T.autograd.grad(v0.relu().sum(), v0, create_graph=True)[0]
        (v1 * v0).sum().backward()""",
    "elements set in a tensor that has none": """
        v0 = T.ones((1, 0, 1, 2), dtype=dtype, requires_grad=True)
        v1 = v0.clone()
        v1[:, :, :, [0]] += v0[..., :1]
        v1[:, :, :, [1]].sum().backward()""",
    "an empty vector among what is joined has a gradient": """
        v0 = T.tensor([], dtype=dtype, requires_grad=True)
        v1 = T.tensor([[1.0]], dtype=dtype, requires_grad=True)
        v2 = T.cat([v1, v0], -1)
        v2.backward(T.tensor([[2.0]], dtype=dtype))""",
    "a linear layer of no outputs": """
        v0 = T.tensor([[[1.0]], [[2.0]]], dtype=dtype, requires_grad=True)
        v1 = T.ones((0, 1), dtype=dtype, requires_grad=True)
        v2 = T.nn.functional.linear(v0, v1)
        v2.sum().backward()""",
    "a view of a leaf that is updated stays on the tape": """
        v0 = T.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
        v1 = v0[1:]
        with T.no_grad(): v0.mul_(3)
        (v1 * v1.detach()).sum().backward()""",
    "a result changed without recording stays on the tape": """
        v0 = T.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
        v1 = v0 * 2
        v2 = v1[:1]
        with T.no_grad(): v1.add_(5)
        v3 = v0 * 4
        v3.detach().mul_(2)
        (v1 * v3.sum()).sum().backward()
        v2.sum().backward()""",
    "a result that its own derivative needs, changed without recording": """
        v0 = T.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
        v1 = v0.tanh()
        with T.no_grad(): v1.mul_(3)
        (v1 + v0).sum().backward()""",
    "a detached view of a leaf": """
        v0 = T.tensor([1.0, 2.0, 3.0], dtype=dtype, requires_grad=True)
        v1 = v0[::2]
        v1.detach().mul_(0.5)
        (v1 * 2).sum().backward()""",
    "a detached alias that comes to require grad": """
        v0 = T.tensor([1.0], dtype=dtype, requires_grad=True)
        v1 = T.tensor([2.0], dtype=dtype, requires_grad=True)
        v2 = v0 * 2
        v3 = v2.detach()
        v4 = v3[:]
        v3.add_(v1)
        v3[0] += v1[0]
        v5 = v2.detach()
        (v2 + v3 * v4 + v5).sum().backward()""",
    "a view that is changed depends on its base": """
        v0 = T.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
        v1 = v0 * 2
        v2 = v1[:1]
        v2.mul_(3)
        v3 = T.autograd.grad(v2.sum(), v1, retain_graph=True)[0]
        (v2 * v1).sum().backward()""",
    "an expansion that repeats nothing is written through": """
        v0 = T.tensor([[1.0, 2.0]], dtype=dtype)
        v1 = v0.expand(1, 2)
        v1 += 1
        v2 = T.ones((1, 0), dtype=dtype).expand(3, 0)
        v2 *= 2""",
    "the gradient of a value whose own graph is freed": """
        v0 = T.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
        v1 = v0.tanh()
        v2 = v1 + 1
        v2.sum().backward()
        v3 = T.autograd.grad(v2.sum(), v1)[0]""",
    "a number that only tensors of no elements read": """
        v0 = T.ones((3, 0), dtype=dtype, requires_grad=True)
        v1 = 2 ** v0.tanh()
        v1.sum().backward()""",
}
