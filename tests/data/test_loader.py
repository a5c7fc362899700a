"""Data sets, batches and their collation."""

import collections

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import data
from microtrain.data import DataLoader, Subset, TensorDataset, default_collate, random_split

# -- datasets -------------------------------------------------------------------------------------------------------


def numbered(n=10):
    return TensorDataset(mt.arange(n).float().reshape(n, 1), mt.arange(n))


def test_tensor_dataset():
    dataset = numbered()
    x, y = dataset[3]
    assert (x.tolist(), y.item(), len(dataset)) == ([3.0], 3, 10)
    with pytest.raises(ValueError, match=r"Size mismatch between tensors: .*\(2,\), \(3,\)"):
        TensorDataset(mt.zeros(2), mt.zeros(3))
    with pytest.raises(ValueError, match="Size mismatch"):
        TensorDataset(mt.tensor(1.0))
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()


def test_random_split():
    a, b = random_split(numbered(), [7, 3], generator=0)
    assert (len(a), len(b)) == (7, 3) and sorted([*a.indices, *b.indices]) == list(range(10))
    assert a.indices.tolist() == random_split(numbered(), [7, 3], generator=0)[0].indices.tolist()
    assert [len(p) for p in random_split(numbered(), [0.55, 0.45], generator=0)] == [6, 4]
    assert a[0][1].item() == a.indices[0]


def test_concatenation():
    both = data.ConcatDataset([numbered(3), numbered(2)])
    assert [both[i][1].item() for i in (*range(len(both)), -1)] == [0, 1, 2, 0, 1, 1]
    with pytest.raises(IndexError, match="index 5 is out of range for 5 samples"):
        both[5]
    with pytest.raises(NotImplementedError, match="Dataset has no __len__"):
        len(data.Dataset())


# -- loader ---------------------------------------------------------------------------------------------------------


def seen(loader):
    return [y.tolist() for _, y in loader]


def test_batches_in_order():
    loader = DataLoader(numbered(), batch_size=4)
    assert seen(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and len(loader) == 3
    assert tuple(next(iter(loader))[0].shape) == (4, 1)
    loader = DataLoader(numbered(), batch_size=4, drop_last=True)
    assert seen(loader) == [[0, 1, 2, 3], [4, 5, 6, 7]] and len(loader) == 2


def test_shuffling_is_seeded_and_differs_by_epoch():
    loader = DataLoader(numbered(30), batch_size=7, shuffle=True, generator=5)
    first, second = seen(loader), seen(loader)
    assert sorted(i for batch in first for i in batch) == list(range(30))
    assert first != second
    again = DataLoader(numbered(30), batch_size=7, shuffle=True, generator=5)
    assert [seen(again), seen(again)] == [first, second]
    generator = np.random.default_rng(5)
    assert seen(DataLoader(numbered(30), batch_size=7, shuffle=True, generator=generator)) == first


@pytest.mark.parametrize("order", [lambda: seen(DataLoader(numbered(30), batch_size=30, shuffle=True)),
                                   lambda: random_split(numbered(), [10])[0].indices.tolist()], ids=["loader", "split"])
def test_orders_follow_the_global_seed(order):
    first, again, other = ((mt.manual_seed(seed), order())[1] for seed in (3, 3, 4))
    assert first == again != other


def test_subsets_are_gathered_whole():
    subset = Subset(Subset(numbered(), [1, 3, 5, 7]), [3, 0, 1])
    assert seen(DataLoader(subset, batch_size=2)) == [[7, 1], [3]]


class Squares(data.Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return {"x": mt.tensor([float(index)]), "y": (index, np.float64(index**2), 0.5)}


def test_collation_of_any_samples():
    batch = next(iter(DataLoader(Squares(), batch_size=3)))
    assert batch["x"].tolist() == [[0.0], [1.0], [2.0]]
    assert [member.tolist() for member in batch["y"][:2]] == [[0, 1, 2], [0.0, 1.0, 4.0]]
    assert [member.dtype for member in batch["y"]] == [mt.int64, mt.float64, mt.float32]
    with pytest.raises(TypeError, match="found <class 'object'>"):
        data.default_collate([object(), object()])
    assert list(DataLoader(Squares(), batch_size=4, collate_fn=len)) == [4, 1]


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_batch_size_errors(size):
    with pytest.raises(ValueError, match="batch_size should be a positive integer value, but got batch_size="):
        DataLoader(numbered(), batch_size=size)


def test_empty_dataset():
    empty = TensorDataset(mt.zeros(0, 2))
    assert list(DataLoader(empty, batch_size=3)) == []
    with pytest.raises(ValueError, match="num_samples should be a positive integer value, but got num_samples=0"):
        DataLoader(empty, batch_size=3, shuffle=True)


Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize("batch", [
    [1, 2], [1.0, 2], [1, 2.0], [True, 2], [True, 2.5], [True, False], [np.float32(1), 2.0], [2.0, np.float32(1)],
    [np.float64(1), np.float64(2)], [np.int32(1), np.int32(2)], [np.int8(1), 300], [1, 2, 3.5]])
def test_the_dtype_of_a_batch_is_that_of_all_its_numbers(batch):
    assert default_collate(batch).dtype is default_collate(batch[::-1]).dtype is mt.tensor(batch).dtype
    assert default_collate(batch).tolist() == batch


def collated(T, batch):
    """What PyTorch and microtrain make of a batch, as something to compare; floats apart, which are float64 there."""
    if T is torch:
        from torch.utils.data import default_collate as collate
    else:
        collate = default_collate

    def told(value):
        if isinstance(value, mt.Tensor | torch.Tensor):
            return str(value.dtype).rpartition(".")[2], value.tolist()
        if isinstance(value, dict):
            return type(value), {key: told(member) for key, member in value.items()}
        return (list, [told(v) for v in value]) if type(value) in (list, tuple) else (
            (type(value), [told(v) for v in value]) if isinstance(value, collections.deque | Pair) else value)
    try:
        return told(collate(batch(T)))
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("batch", [
    lambda T: [Pair(1, T.ones(2)), Pair(3, T.zeros(2))], lambda T: ["a", "b"], lambda T: [b"a", b"b"],
    lambda T: [{"a": 1, "b": "x"}, {"a": 3, "b": "y"}], lambda T: [{"a": 1}, {"b": 2}],
    lambda T: [((1, 2), {"x": 3})] * 2,
    lambda T: [collections.OrderedDict(a=1), collections.OrderedDict(a=2)], lambda T: [(1, "a"), (2, "b")],
    lambda T: [collections.defaultdict(int, a=1), collections.defaultdict(int, a=2)],
    lambda T: [{"a": 1}, {"a": 2, "b": 1}],
    lambda T: [(1, 2), (3,)], lambda T: [[1, 2], [3]], lambda T: [(), ()], lambda T: [{}, {}], lambda T: [range(2)] * 2,
    lambda T: [collections.deque([1]), collections.deque([2])], lambda T: [np.ones(2), np.zeros(2)],
    lambda T: [np.ones(2), np.zeros(3)], lambda T: [np.ones(2, np.float32), np.zeros(2)], lambda T: [np.array(1.0)] * 2,
    lambda T: [T.ones(2), T.zeros(3)], lambda T: [T.ones(2), T.zeros(2, dtype=T.float64)], lambda T: [T.tensor(1), 2],
    lambda T: [None, None], lambda T: [object(), object()], lambda T: [1, "a"], lambda T: [], lambda T: 5,
    lambda T: [np.array(["a"])] * 2, lambda T: [np.array([None])] * 2,
])
def test_collating_keeps_forms_as_pytorch_does(batch):
    assert collated(mt, batch) == collated(torch, batch)


@pytest.mark.parametrize("indices", [[0.5], [1.0], np.array([1.0]), [True, False], ["a"], [None], 3, None, [[0, 1]]])
def test_a_subset_of_what_are_no_indices(indices):
    with pytest.raises(TypeError, match="Subset: indices should be a sequence of integers"):
        Subset(TensorDataset(mt.arange(10)), indices)


@pytest.mark.parametrize("batch", [[(1, 2), None], [{"a": 1}, None], [{"a": 1}, (1,)], [{"a": 1}, np.ones(2)],
                                   [[1], 3]])
def test_samples_of_two_kinds(batch):
    with pytest.raises(TypeError, match=r"the first sample is a (tuple|dict|list), but another is"):
        default_collate(batch)


@pytest.mark.parametrize("make", [list, tuple, np.array, mt.tensor, lambda indices: range(1, 6, 2)])
def test_a_subset_of_indices_of_any_kind(make):
    subset = Subset(TensorDataset(mt.arange(10)), make([1, 3, 5]))
    assert [subset[i][0].item() for i in (0, 2, -1)] == [1, 5, 5] and subset[[0, 1]][0].tolist() == [1, 3]
    assert [batch[0].tolist() for batch in DataLoader(subset, 2)] == [[1, 3], [5]]
    with pytest.raises(IndexError):
        subset[3]
    with pytest.raises(IndexError):
        Subset(TensorDataset(mt.arange(10)), [20])[0]


@pytest.mark.parametrize(("lengths", "sizes"), [
    ([np.int64(3), np.int64(7)], [3, 7]), ([mt.tensor(3), 7], [3, 7]), ([0.5, 0.5], [5, 5]), ([1.0], [10]),
    ([0, 10], [0, 10])])
def test_lengths_of_any_kind(lengths, sizes):
    assert [len(part) for part in random_split(TensorDataset(mt.arange(10)), lengths)] == sizes


SUM = "^Sum of input lengths does not equal the length of the input dataset!$"


@pytest.mark.parametrize(("lengths", "words"), [
    ([float("nan")] * 2, "add up to 1"), ([5.0, 5.0], "add up to 1"), ([0.3, 0.3], "add up to 1"), ([3, 6], SUM),
    ([], SUM), ([-1, 11], "should not be negative"), ([1.5, -0.5], "should not be negative")])
def test_lengths_that_add_up_to_nothing(lengths, words):
    with pytest.raises(ValueError, match=words):
        random_split(TensorDataset(mt.arange(10)), lengths)


def test_an_order_drawn_from_a_generator_of_ours():
    def orders(generator):
        loader = DataLoader(TensorDataset(mt.arange(8)), batch_size=8, shuffle=True, generator=generator)
        return [batch[0].tolist() for _ in range(3) for batch in loader]

    first, state = mt.Generator().manual_seed(3), mt.get_rng_state()
    whole = orders(first)
    assert whole == orders(mt.Generator().manual_seed(3)) and len({*map(tuple, whole)}) == 3
    assert all(sorted(order) == [*range(8)] for order in whole)
    going = mt.Generator().manual_seed(3)
    kept = (orders(going), going.get_state())[1]
    going.manual_seed(9).set_state(kept)
    assert orders(going) == orders(first)                   # goes on where it was
    assert mt.get_rng_state().tolist() == state.tolist()    # and leaves the global one alone
    halves = [random_split(range(8), [4, 4], generator=mt.Generator().manual_seed(1)) for _ in range(2)]
    assert [[*a] for a in halves[0]] == [[*a] for a in halves[1]]


@pytest.mark.parametrize("error", [ValueError("bad"), StopIteration()], ids=["ValueError", "StopIteration"])
@pytest.mark.parametrize("where", ["dataset", "collate_fn"])
def test_a_batch_that_cannot_be_made_is_one_batch(error, where):
    def spoilt(value, bad):
        if bad:
            raise error
        return value

    class Rows:
        def __len__(self):
            return 6

        def __getitem__(self, index):
            return spoilt(index, where == "dataset" and index == 3)

    for module in (data, torch.utils.data):
        if module is data or not isinstance(error, StopIteration):          # which ends PyTorch's epoch
            loader = module.DataLoader(Rows(), 2, collate_fn=lambda b: spoilt(b, where == "collate_fn" and 3 in b))
            batches = iter(loader)
            assert next(batches) == [0, 1]
            with pytest.raises((ValueError, RuntimeError), match=str(error) or "raised StopIteration"):
                next(batches)
            assert [*batches] == [[4, 5]] and next(iter(loader)) == [0, 1]


def test_a_part_of_no_samples():
    for module in (data, torch.utils.data):
        with pytest.warns(UserWarning, match="Length of split at index 1 is 0. This might result in an empty dataset"):
            assert [len(part) for part in module.random_split(range(1), [0.5, 0.5])] == [1, 0]


def test_samples_are_given_by_a_class_of_ones_own():
    for module, T in ((data, mt), (torch.utils.data, torch)):
        class Doubled(module.TensorDataset):
            def __getitem__(self, index):
                return tuple(member * 2 for member in super().__getitem__(index))

        class Negated(module.Subset):
            def __getitem__(self, index):
                return tuple(-member for member in super().__getitem__(index))

            def __getitems__(self, indices):            # which PyTorch wants beside it
                return [self[index] for index in indices]

        rows = T.arange(4.0)
        for dataset, expected in ((Doubled(rows), [0, 2, 4, 6]), (module.Subset(Doubled(rows), [3, 1]), [6, 2]),
                                  (Negated(module.TensorDataset(rows), [1, 2]), [-1, -2]),
                                  (module.Subset(Negated(Doubled(rows), [1, 2]), [1]), [-4])):
            assert [batch[0].tolist() for batch in module.DataLoader(dataset, batch_size=4)] == [expected]
