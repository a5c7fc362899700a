"""How `fit` makes its steps: looped, replayed or plain, with the same bits."""

import cProfile

import numpy as np
import pytest

import microtrain as mt
from microtrain import data, nn, optim
from microtrain.compiled import function, seen
from microtrain.train import DivergedError, fit
from tests.train.test_train import Recorder

OPTIMIZERS = {
    "Nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
}
MODELS = {
    "linear": lambda: nn.Linear(3, 1),
    "network": lambda: nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)),
}


def dataset(n=40, seed=0):
    x = mt.tensor(np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32))
    return data.TensorDataset(x, x.sum(1, keepdim=True))


def plain_epochs(model, loss_fn, optimizer, loader, epochs, scheduler=None):
    """The loop written out, losses read after each epoch."""
    means = []
    for _ in range(epochs):
        losses, sizes = [], []
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            sizes.append(len(x))
        values = mt.stack(losses).cpu().numpy().astype(np.float64)
        if scheduler is not None:
            scheduler.step()
        means.append(float(np.average(values, weights=sizes)))
    return means


def everything(model, optimizer):
    """The bytes of the model and of the optimizer's state, the gradients, and what the generator gives next."""
    def bits(value):
        return value.detach().cpu().numpy().tobytes() if isinstance(value, mt.Tensor) else value

    state = [{key: bits(value) for key, value in one.items()} for one in optimizer.state_dict()["state"].values()]
    return ([bits(value) for value in model.state_dict().values()], state,
            [None if p.grad is None else bits(p.grad) for p in model.parameters()], mt.rand(2).tolist())


def both(loss_fn=nn.MSELoss, model=MODELS["linear"], optimizer=OPTIMIZERS["Nesterov"], loader=None, epochs=3,
         schedule=None, **options):
    """Losses and all that is left of the loop written out, and of `fit`; and its history."""
    made = []
    for compiled in (False, True):
        mt.manual_seed(1)
        net, batches = model(), loader() if loader else data.DataLoader(dataset(), 8, shuffle=True, generator=3)
        steps = optimizer(net.parameters())
        scheduler = None if schedule is None else schedule(steps)
        if compiled:
            history = fit(net, loss_fn(), steps, batches, epochs=epochs, progress=False, scheduler=scheduler, **options)
            made.append((history.train_loss, everything(net, steps)))
        else:
            made.append((plain_epochs(net, loss_fn(), steps, batches, epochs, scheduler), everything(net, steps)))
    return *made, history


def alike(got, wanted, exact=True):
    """Bits are compared where sums are taken in one order: on a GPU the one launch of a loop may have its own."""
    if exact and mt.tensor(0).device.type != "cuda":
        assert got == wanted
    else:
        assert got[0] == pytest.approx(wanted[0], rel=1e-5)


LOADERS = {
    "rows": (lambda: data.DataLoader(dataset(), 8, shuffle=True, generator=3), "looped"),
    "rows, a last one that is not full": (lambda: data.DataLoader(dataset(43), 8, shuffle=True), "looped"),
    "rows, no last one": (lambda: data.DataLoader(dataset(43), 8, drop_last=True), "looped"),
    "a part of a part": (lambda: data.DataLoader(data.Subset(data.Subset(dataset(50), range(49, 0, -1)),
                                                             [-1, *range(40)]), 8), "looped"),
    "one batch": (lambda: data.DataLoader(dataset(), 40), "replayed (an epoch is one step)"),
    "a list": (lambda: [(x, y) for x, y in data.DataLoader(dataset(43), 8)],
               "replayed (batches are not rows of two tensors)"),
    "a function of samples": (
        lambda: data.DataLoader(dataset(), 8, collate_fn=lambda batch: data.default_collate(batch)),
        "replayed (batches are not rows of two tensors)"),
}


@pytest.mark.parametrize("name", LOADERS)
def test_the_bits_are_those_of_the_loop_written_out(name):
    loader, way = LOADERS[name]
    wanted, got, history = both(loader=loader)
    # A kernel that takes the rows itself, in a step that is read at once, adds up in another order.
    alike(got, wanted, exact=mt.tensor(0).device.type == "cpu" or name != "one batch")
    assert history.steps == way


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_whatever_is_trained(model, optimizer):
    wanted, got, history = both(model=MODELS[model], optimizer=OPTIMIZERS[optimizer],
                                schedule=lambda steps: optim.lr_scheduler.CosineAnnealingLR(steps, 3),
                                loader=lambda: data.DataLoader(dataset(43), 8, shuffle=True))
    alike(got, wanted)
    assert history.steps == "looped"


class Counting(nn.Module):
    """A loss that counts its calls."""

    calls = 0

    def forward(self, output, target):
        self.calls += 1
        return nn.functional.mse_loss(output, target)


def test_what_is_done_in_python_at_each_call_is_done(capsys):
    losses = []

    class Listing(Counting):
        def forward(self, output, target):
            loss = super().forward(output, target)
            losses.append(loss.detach())
            return loss

    class Printing(nn.Module):
        def forward(self, output, target):
            loss = nn.functional.mse_loss(output, target)
            print("called")
            return loss

    class Looking(nn.Module):
        def forward(self, output, target):
            loss = nn.functional.mse_loss(output, target)
            return loss * 2 if loss.item() > 0.5 else loss

    for kind, why in ((Counting, "changes"), (Listing, "changes"), (Printing, "prints"), (Looking, "looks at a value")):
        counters = []
        losses.clear()
        wanted, got, history = both(loss_fn=lambda kind=kind, kept=counters: kept.append(kind()) or kept[-1])
        alike(got, wanted)
        assert history.steps.startswith("plain (") and why in history.steps and "replay" not in history.steps
        if kind in (Counting, Listing):
            assert [one.calls for one in counters] == [15, 15]
        assert len(losses) == (30 if kind is Listing else 0)
    assert capsys.readouterr().out == "called\n" * 30


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_first_attempt_leaves_nothing(optimizer):
    """The whole step is recorded, and refused, before it is made."""
    wanted, got, _ = both(Counting, MODELS["network"], OPTIMIZERS[optimizer], epochs=1,
                          loader=lambda: [next(iter(data.DataLoader(dataset(), 8)))])
    alike(got, wanted)


def test_a_step_that_leads_to_too_much_is_a_plain_one(monkeypatch):
    monkeypatch.setattr(seen, "MOST", 5)
    wanted, got, history = both()
    alike(got, wanted)
    assert history.steps.startswith("plain (") and "more than 5 objects" in history.steps


def test_a_profiler_goes_on():
    profile = cProfile.Profile()
    profile.enable()
    wanted, got, history = both()
    len([])
    profile.disable()
    alike(got, wanted)
    assert history.steps == "looped"
    assert any(entry.code == "<built-in method builtins.len>" for entry in profile.getstats())


def test_what_cannot_be_replayed_is_told_where_progress_is(capsys):
    model = nn.Linear(3, 1)
    fit(model, Counting(), optim.SGD(model.parameters(), lr=0.1), data.DataLoader(dataset(), 8), epochs=1)
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("steps: plain (") and "changes" in out and err == ""
    fit(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), data.DataLoader(dataset(), 8), epochs=1,
        progress=Recorder())
    assert capsys.readouterr() == ("", "")


def test_batches_of_ever_other_shapes_are_not_recorded_for_ever(monkeypatch):
    monkeypatch.setattr(function, "MAX_RECORDINGS", 8)
    batches = [(x[:n], y[:n]) for n in range(1, 20) for x, y in [dataset().tensors]]
    wanted, got, history = both(loader=lambda: batches, epochs=1)
    alike(got, wanted)
    assert history.steps == "plain (hardly any call is like one before (argument 0 is another each time))"
    _, _, history = both(loader=lambda: batches[:3], epochs=10)
    assert history.steps.startswith("replayed")


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_a_loss_that_is_not_finite_is_told_by_epoch_and_batch():
    def found(loss_fn):
        model = nn.Linear(3, 1)
        with mt.no_grad():
            for p in model.parameters():
                p.fill_(0.5)
        with pytest.raises(DivergedError) as info:
            fit(model, loss_fn, optim.SGD(model.parameters(), lr=1e3),
                data.DataLoader(dataset(43), 8), epochs=9, progress=False)
        return info.value.epoch, info.value.batch, info.value.loss

    looped, plain = found(nn.MSELoss()), found(Counting())
    assert looped == plain and looped[0] > 1


def test_what_changes_between_epochs_is_seen():
    def thaw(model):
        def callback(epoch, history):
            model[0].weight.requires_grad_(epoch % 2 == 0)
            model[1].p = 0.1 * epoch
            rate["scale"] = 1.0 + epoch
        return callback

    rate = {}
    made = []
    for compiled in (False, True):
        mt.manual_seed(1)
        rate["scale"] = 1.0
        model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Linear(4, 1))
        steps = OPTIMIZERS["Nesterov"](model.parameters())
        batches = data.DataLoader(dataset(43), 8, shuffle=True)
        loss = lambda output, target: nn.functional.mse_loss(output, target) * rate["scale"]  # noqa: E731
        if compiled:
            history = fit(model, loss, steps, batches, epochs=3, progress=False, callbacks=[thaw(model)])
            made.append((history.train_loss, everything(model, steps)))
            assert history.steps == "looped"
        else:
            losses = []
            for epoch in range(1, 4):
                losses += plain_epochs(model, loss, steps, batches, 1)
                thaw(model)(epoch, None)
            made.append((losses, everything(model, steps)))
    alike(made[1], made[0])


def test_an_index_out_of_range_is_an_error_as_ever():
    model = nn.Linear(3, 1)
    loader = data.DataLoader(data.Subset(dataset(), [*range(20), 40]), 4)
    with pytest.raises((IndexError, DivergedError)):         # a GPU reads NaN there
        fit(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), loader, epochs=2, progress=False)


def test_a_compiled_step_is_called_once_for_each_structure(monkeypatch):
    """So that nothing above shows plain steps beside plain steps."""
    calls = []
    zero_grad = optim.SGD.zero_grad
    monkeypatch.setattr(optim.SGD, "zero_grad", lambda self: calls.append(1) or zero_grad(self))
    for name, (loader, _) in LOADERS.items():
        calls.clear()
        model = nn.Linear(3, 1)
        fit(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), loader(), epochs=10, progress=False)
        assert len(calls) <= 4, name
