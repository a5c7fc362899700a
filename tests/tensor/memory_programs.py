"""Programs of tensors that share memory: what each sees in microtrain is to be what it sees in PyTorch."""


VERSIONS = {
    "a view has its base's version": """
        x = T.ones(2, 2); x.add_(1); v = x[0]; see(x._version, v._version)
        d = x.detach(); v.add_(1); see(x._version, d._version, d[1]._version); d[1].add_(1); see(x._version)""",
    "data counts for itself": """
        x = T.ones(3); x.add_(1); d = x.data; see(d._version); d.add_(1); d[:1].mul_(2)
        see(x._version, d._version, x)""",
    "a parameter made by hand": """
        p = T.nn.Parameter(T.ones(2)); y = (p * p).sum(); o = T.optim.SGD([p], lr=0.1); y.backward(retain_graph=True)
        o.step(); see(p._version); y.backward()""",
    "parameters that overlap": """
        for O in (T.optim.SGD, T.optim.Adam):
            x = T.zeros(4); p, q = T.nn.Parameter(x[:2]), T.nn.Parameter(x[1:3]); o = O([p, q], lr=1.0)
            for _ in range(2): o.zero_grad(); (p.sum() + 2 * q.sum()).backward(); o.step(); see(x, p, q)""",
    "a gradient that is another parameter": """
        a, b = leaf(2), leaf(2); b.grad = a.detach(); a.grad = T.ones(2); o = T.optim.SGD([a, b], lr=0.5)
        for _ in range(2): o.step(); see(a, b)""",
    "gradients that are views of one tensor": """
        a, b, flat = leaf(2), leaf(2), T.zeros(4); a.grad, b.grad = flat[:2], flat[2:]
        o = T.optim.SGD([a, b], lr=0.5, momentum=0.9)
        for _ in range(2):
            o.zero_grad(set_to_none=False); (a.sum() + 2 * b.sum()).backward(); see(flat, a.grad, b.grad); o.step()
        see(a, b)""",
    "gradients that are one tensor": """
        a, b, one = leaf(2), leaf(2), T.zeros(2); a.grad = b.grad = one
        for _ in range(2): (a.sum() + 2 * b.sum()).backward(); see(one, a.grad, b.grad)""",
    "a gradient changed by another's hook": """
        a, b = leaf(2), leaf(2); (a + b).sum().backward()
        a.register_post_accumulate_grad_hook(lambda p: b.grad.zero_() and None)
        b.register_post_accumulate_grad_hook(lambda p: a.grad.zero_() and None)
        (a * 2 + b * 3).sum().backward(); see(a.grad.sum() + b.grad.sum())""",
    "hooks of a tensor that is detached in place": """
        a = leaf(2); y = a * 2; h = y.register_hook(lambda g: see(g) or g * 3); z = (y * 5).sum(); y.detach_()
        see(y.requires_grad, y.is_leaf); y.requires_grad_(); (y * 2).sum().backward(); see(y.grad, a.grad)
        z.backward(); see(a.grad, y.grad); h.remove(); (y * 2).sum().backward(); see(y.grad)""",
    "hooks of a retained tensor that is detached in place": """
        a = leaf(2); y = a * 2; y.retain_grad(); y.register_hook(lambda g: g * 3); y.detach_(); y.requires_grad_()
        (y * 2).sum().backward(); see(y.grad, y.retains_grad, y.is_leaf)""",
    "a saved result changed through data, counted beside it": """
        for way in range(3):
            x = leaf(2); y = x.exp()
            if way: y.detach()[:0].add_(1)
            y.data.add_(1)
            if way > 1: y.detach()[:0].add_(1)
            try: y.sum().backward(); see(way > 0)
            except RuntimeError as error: see(str(error)[:60])""",
    "asking a view that may not be used": """
        x = leaf(2) * 1
        with T.no_grad(): v = x[:1]
        x.mul_(2)
        for what in ("grad_fn", "is_leaf", "requires_grad"):
            with T.no_grad():
                try: see(bool(getattr(v, what)))
                except RuntimeError as error: see(str(error)[:40])
        with T.no_grad(): v.neg_()
        see(x)""",
    "a view whose base came to require grad": """
        for look in (False, True):
            x, w = T.ones(2), leaf(2); v = x[:]; x.mul_(w)
            if look: v.grad_fn
            try: v.add_(1); see(v.requires_grad)
            except RuntimeError as error: see(str(error))""",
    "requires_grad given to a view that has it, and taken back": """
        x = leaf(2)
        with T.no_grad(): v = x[:1]
        v.requires_grad_(); v.requires_grad_(False); see(v.requires_grad, v.is_leaf)
        (v * 2 + x).sum().backward(); see(x.grad)""",
    "a view of very many views": """
        x = leaf(4); y = x * 1; v = w = y
        for i in range(1500): v = v.view(2, 2) if i % 2 == 0 else v.detach().view(4) if i == 701 else v[::-1 + 2]
        for i in range(1500): w = w.view(2, 2) if i % 2 == 0 else w.view(4)
        w[1:].mul_(2); v[:1].mul_(3); (y * y).sum().backward(); see(x.grad, y, v, w)""",
    "axes that are one already": """
        x = leaf(2, 3); y = x * 1
        see(x.flatten(1) is x, y[0].flatten().is_contiguous(), T.ones(()).flatten().shape == (1,))
        y.flatten(0, 0).retain_grad(); (y * 2).sum().backward(); see(y.grad, x.flatten(1, 1).grad)""",
    "strides of what was expanded": """
        x = T.ones(2, 1, 3); see(x.expand(1, 2, 1, 3).stride(), x.expand(4, 1, 2, 5, 3).stride())
        see(T.ones(3).expand(2, 1, 3).stride(), T.ones(()).expand(1, 1).stride(), x.expand(1, 2, 1, 3).is_contiguous())
        y = T.zeros(3); y.expand(1, 1, 3).add_(1); see(y)""",
    "again after a backward that failed": """
        for look in (False, True):
            x = leaf(2); y = x.sigmoid(); h = y.register_hook(lambda g: 1 / 0); z = (y + 1).sum(); look and z.tolist()
            try: z.backward()
            except ZeroDivisionError: see(x.grad)
            h.remove(); z.backward(); see(x.grad)
        y = x.sigmoid(); z = (y + 1).sum(); z.tolist(); y.add_(1)
        for _ in range(2):
            try: z.backward()
            except RuntimeError as error: see(str(error)[:60])""",
    "a second backward to what leads nowhere": """
        x, w = leaf(4), leaf(2)
        with T.no_grad(): v = x[:2]
        v.register_post_accumulate_grad_hook(see)
        for y in (v * v, T.addcmul(w, v, v), v * w):
            y.sum().backward(); see(w.grad, v.grad); y.sum().backward(); see(w.grad, x.grad)""",
    "a Function that changes what may not be used": """
        F = type("F", (T.autograd.Function,), {
            "forward": staticmethod(lambda ctx, x: ctx.mark_dirty(x) or x.mul_(2)), "backward": staticmethod(see)})
        x = leaf(4) * 1; v = x.chunk(2)[0]; x.mul_(3)
        with T.no_grad(): y = F.apply(v)
        see(y is v, y.requires_grad, y.is_leaf, x)""",
    "hooks of a view that is made a leaf": """
        for before in (False, True):
            x = leaf(4)
            with T.no_grad(): v = x[:2]
            if before: v.requires_grad_(); v.requires_grad_(False)
            h = v.register_hook(lambda g: see(g) or g * 2); v.register_post_accumulate_grad_hook(lambda p: see(p.grad))
            (v * 2).sum().backward(); v.requires_grad_(); (v * 3).sum().backward(); see(v.grad, x.grad)
            v.requires_grad_(False); (v * 3).sum().backward(); h.remove(); v.requires_grad_()
            (v * 5).sum().backward()""",
    "flags of views that may not be used": """
        y = leaf(2, 2) * 1
        with T.no_grad(): a = y[0]
        y.mul_(2); a.requires_grad_(False); a.requires_grad = True; a.retain_grad(); see(a.requires_grad)
        c, d = y.unbind()
        with T.no_grad(): y.mul_(2)
        for change in (lambda: c.requires_grad_(False), lambda: setattr(c, "requires_grad", True), c.retain_grad):
            try: change(); see("accepted")
            except RuntimeError as error: see(str(error)[:60])""",
    "a view whose base left the memory": """
        x = leaf(2, 2)
        with T.no_grad(): v = x[0]
        see(v.requires_grad); x.data = T.ones(3); see(v.requires_grad); x.detach_(); see(v.requires_grad)""",
    "inputs one of which may not be used": """
        x, y = leaf(2), leaf(2); h = y + 0
        with T.no_grad(): v = x[:1]
        x.view(2).grad_fn; x.detach().add_(1)
        try: T.autograd.backward([x.view(2), h], [T.ones(2)] * 2, inputs=[v, h])
        except RuntimeError as error: see(str(error)[:40])
        see(h.retains_grad)""",
    "a parameter made of a tensor that lives on": """
        x = T.ones(2); x.add_(1); p = T.nn.Parameter(x); see(p._version); y = (p * p).sum(); x.add_(1)
        see(p._version, p); y.backward()""",
    "requires_grad_ in between": """
        x = T.ones(2); w = leaf(2); y = (x * w).sum(); x.requires_grad_(); x.detach().add_(1); y.backward()""",
    "a saved result changed through a detached view": """
        x = leaf(4); y = x.exp(); y.detach()[1:].mul_(2); see(y._version); y.sum().backward()""",
    "a saved result changed and then viewed": """
        x = leaf(2); y = x.tanh()
        with T.no_grad(): y.mul_(3)
        z = y[:]; y.sum().backward()""",
    "a leaf changed by setitem": """
        x = leaf(4); y = (x * x).sum()
        with T.no_grad(): x[1:] += 1
        see(x._version, x); y.backward()""",
    "an alias that is gone was saved": """
        x = T.ones(2); w = leaf(2); y = (x.detach() * w).sum(); x.add_(1); y.backward()""",
    "another value that needs no saving": """
        x = leaf(2); y = x * 2; z = y + 1; y.add_(1); z.sum().backward(); see(x.grad, y._version)""",
    "optimizers": """
        for make in (T.optim.SGD, T.optim.Adam):
            p = T.nn.Parameter(T.ones(2)); o = make([p], lr=0.1)
            for _ in range(3): p.square().sum().backward(); o.step()
            see(p._version)""",
}

VIEWS = {
    "a detached view changed twice": """
        p = leaf(3); m = p.detach()[:2]; m += 1; m += 1; see(m, m.requires_grad, p, p._version)
        (m * 3).sum().backward()""",
    "detach_ while a view is alive": """
        w = T.tensor([[.5, .1], [.2, .3]], requires_grad=True); h = (T.zeros(1, 2) + 1) @ w; first = h[0]
        h.detach_(); h.mul_(0.9); see(h.requires_grad, first.requires_grad, first, name(first))
        (h @ w).sum().backward()
        see(w.grad)""",
    "detach_ of a view": "h = leaf(4) * 1; v = h[0]; v.detach_()",
    "detach_ and a change of the view": "h = leaf(4) * 1; v = h[:2]; h.detach_(); v.mul_(2)",
    "a base and its detached alias, both ways": """
        x = T.zeros(2, 3); d = x.detach(); v = x[1]; w = d.t()[2]; v.add_(1); w.mul_(5); d[0].add_(2); x.mul_(2)
        see(x, d, v, w)""",
    "alias of a result changed and the result used on": """
        x = leaf(3); h = x * 2; d = h.detach(); v = h[:2]; d.mul_(3); see(h, v, name(h), name(v))
        (h * h).sum().backward()
        see(x.grad)""",
    "views of views through a detached alias": """
        x = T.zeros(2, 2, 2); a = x[0]; b = a.detach()[1]; c = b.view(2, 1)[0]; c.fill_(7); a.t().diagonal().add_(1)
        see(x, a, b, c)""",
    "data is set": """
        x = T.ones(3); y = T.zeros(3); x.add_(1); x.data = y; see(x._version, y._version); y.add_(1); see(x)
        x.add_(1); see(y, x._version, y._version)""",
    "data of a leaf is set": """
        x = leaf(2); y = T.tensor([5., 6.]); x.data = y; (x * x).sum().backward(); see(x.grad, x.is_leaf); y.add_(1)
        see(x)""",
    "data of a view is set": "v = leaf(1, 2)[0]; v.data = T.zeros(2); see(v, v.requires_grad, v.is_leaf); v.detach_()",
    "data is changed by an operator": """
        x = leaf(2); d = x.detach(); x.data -= 0.5; x.data -= 0.5; see(x, d, x._version, x.is_leaf)""",
    "names after a change": """
        x = leaf(4) * 1; v = x[0]; w = x[1:3]; v.mul_(2); see(*map(name, (x, v, w))); x.mul_(3)
        see(*map(name, (x, v, w)))
        x[1] = 2.0; see(name(x)); x[T.tensor([1, 2])] = 2.0; see(name(x)); x.zero_(); see(name(x))
        with T.no_grad(): v.add_(1)
        see(name(x), name(v)); x[:2].exp_(); see(name(x), x.sum().backward())""",
    "a view of a plain base takes a gradient": """
        x = T.ones(4); v = x[:2]; w = x.detach(); s = leaf(2); v.mul_(s * 2)
        see(*map(name, (x, v)), w.requires_grad, w)
        (x * v[0]).sum().backward(); see(s.grad)""",
    "requires_grad_ of a base with a view": """
        x = T.ones(4); v = x[:2]; x.requires_grad_(); see(v.requires_grad, v.is_leaf, name(v)); (v * 2).sum().backward()
        see(x.grad, v.grad)
        with T.no_grad(): x.mul_(2)
        see(name(v)); (v * 2).sum().backward(); see(x.grad)""",
    "requires_grad_ of a view": """
        x = T.ones(4); v = x[:2]; v.requires_grad_(); x.mul_(2); see(x.requires_grad, v.is_leaf, v)
        (v * v).sum().backward(); see(v.grad); v.mul_(2)""",
    "requires_grad_ off": """
        x = leaf(4); v = x[:2]; x.requires_grad_(False); see(v.requires_grad); x.mul_(2); see(name(v), v)""",
    "a leaf that requires grad no more gets none": """
        x = leaf(1); y = x * 2; x.requires_grad_(False); y.backward(); see(x.grad); x.requires_grad_()
        (x * 1).backward(); see(x.grad)""",
    "a leaf that came to be a result": "x = leaf(2); y = x * 2; x.detach_(); x.copy_(leaf(2)); y.sum().backward()",
    "requires_grad set on a result": "y = leaf(2) * 1; y.requires_grad = True",
}

REFUSED = {
    **{f"{how}, {what}": f"x = leaf(4, 4) * 1; a = x.{how}[1]; {change}; see(a.requires_grad, a.tolist()); a * 2"
       for how in ("split(2)", "chunk(2)", "unbind()", "split([1, 3], 1)")
       for what, change in (("itself", "a.mul_(2)"), ("its base", "x.mul_(2)"), ("a view of it", "a[0].mul_(2)"),
                            ("off the tape", "exec('with T.no_grad(): a.mul_(2)')"))},
    "tensor_split": "x = leaf(4) * 1; a, b = x.tensor_split(2); a.mul_(3); see(name(a), x); x.sum().backward()",
    "rows": "x = leaf(2, 2) * 1\nfor row in x: row.mul_(2)",
    "rows of what needs no gradient": "x = T.ones(2, 2)\nfor row in x: row.mul_(2)\nsee(x)",
    "parts of what needs none, times a leaf": "a = T.ones(4).split(2)[0]; a.mul_(leaf(1))",
    "parts whose base is changed unseen": """
        x = leaf(4) * 1; a, b = x.split(2); x.mul_(2); see(name(x), a.detach()); (x * 2).sum().backward()""",
    "made without grad mode": """
        x = leaf(4) * 1
        with T.no_grad(): v = x[:2]
        see(v.requires_grad, v.is_leaf, name(v)); v.mul_(2)""",
    "made without grad mode, used": """
        x = leaf(4)
        with T.no_grad(): v = x[:2]
        y = v * 2; see(y.requires_grad); y.sum().backward(); see(x.grad, v.grad); v.numpy()""",
    "made without grad mode, base changed": """
        x = leaf(4) * 1
        with T.no_grad(): v = x[:2]
        x.mul_(2); see(v.requires_grad, v.tolist()); v * 2""",
    "made and changed without grad mode": """
        x = leaf(4)
        with T.no_grad(): v = x[:2]; v.mul_(2); see(v * 3)
        see(x, v.detach()); v.is_leaf""",
    "made without grad mode of what needs none": "x = T.ones(4)\nwith T.no_grad(): v = x[:2]\nv.mul_(leaf(1))",
    "detached without grad mode": """
        x = leaf(4)
        with T.no_grad(): v = x.detach()[:2]
        v.mul_(2); see(x, x._version, v.requires_grad)""",
    "made without grad mode, changed, its base set free": """
        x = leaf(1, 2)
        with T.no_grad(): v = x[0]
        x.detach().mul_(2); see(v.detach(), v.requires_grad); x.requires_grad_(False); see(v.requires_grad, v * 2)""",
    "a view of one made without grad mode": """
        x = leaf(4)
        with T.no_grad(): v = x[:2]
        w = v[:1]; see(w.requires_grad, name(w), w.is_leaf); w.mul_(2)""",
    "backward from one made without grad mode": "x = leaf(4)\nwith T.no_grad(): v = x[:2]\nv.backward(T.ones(2))",
    "what a dead end would need": """
        x = leaf(1); y = leaf(1)
        with T.no_grad(): v = x[:]
        z = y * v; y.detach().add_(1); z.backward(); see(y.grad)""",
    "a view of a leaf": "x = leaf(4); v = x[:2]; v.mul_(2)",
    "a view of a leaf of another family": "x = leaf(4); v = x.detach()[:2]; v.mul_(2); see(x)",
    "expanded": "x = (leaf(4) * 1).expand(3, 4); x.add_(1)",
    "expanded, plain": "x = T.ones(4).expand(3, 4); x[0, 0]; x.mul_(2)",
}
