"""Datasets, loaders, CSV files, splits, scaling and the data that comes along."""

import collections
import re
import time

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import data
from microtrain.data import DataError, DataLoader, Subset, TensorDataset, default_collate, random_split


def write(folder, text, name="t.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# -- CSV ------------------------------------------------------------------------------------------------------------


def test_read_csv(tmp_path):
    table = data.read_csv(write(tmp_path, "a, b,y\n1,2,3\n\n4,5e1,-6\n"))
    assert table.name == "t"
    assert table.feature_names == ("a", "b")
    assert table.target_name == "y"
    assert table.features.tolist() == [[1.0, 2.0], [4.0, 50.0]]
    assert table.target.tolist() == [3.0, -6.0]
    assert len(table) == 2


def test_read_csv_with_a_target_in_the_middle(tmp_path):
    table = data.read_csv(str(write(tmp_path, '\ufeff"a,1",b,c\n1,2,3\n')), target="b")
    assert table.feature_names == ("a,1", "c")
    assert table.features.tolist() == [[1.0, 3.0]]
    assert table.target.tolist() == [2.0]


BAD_CSV = {
    "empty": ("", "the file is empty"),
    "blank lines": ("\n\n", "the file is empty"),
    "no rows": ("a,b\n", "no rows below the header"),
    "no header": ("1,2\n3,4\n", "line 1: expected column names"),
    "nameless column": ("a,,c\n1,2,3\n", "line 1: column 2 has no name"),
    "name twice": ("a,b,a\n1,2,3\n", "line 1: the column name 'a' stands twice"),
    "short row": ("a,b\n1,2\n3\n", "line 3: 1 cells, but the header names 2 columns"),
    "long row": ("a,b\n1,2,3\n", "line 2: 3 cells, but the header names 2 columns"),
    "text": ("a,b\n1,2\n\n3,x y\n", "line 4, column 'b': 'x y' is not a number"),
    "empty cell": ("a,b\n1,\n", "line 2, column 'b': the cell is empty"),
    "nan": ("a,b\nNaN,1\n", "line 2, column 'a': 'NaN' is not a finite number"),
    "infinity": ("a,b\n1,2\n3,Infinity\n", "line 3, column 'b': 'Infinity' is not a finite number"),
    "beyond float64": ("a,b\n1,1e309\n", "line 2, column 'b': '1e309' is not a finite number"),
    "finite, but not their sum, and nan": ("a,b,c\n1e308,1e308,nan\n", "line 2, column 'c': 'nan' is not a finite"),
    "underscores": ("a,b\n1_000,2\n3,4\n", "line 2, column 'a': '1_000' is not a number"),
    "digits of another width": ("a,b\n1,１２\n", "line 2, column 'b': '１２' is not a number"),
    "digits of another script": ("a,b\n٣,1\n", "line 2, column 'a': '٣' is not a number"),
    "another minus": ("a,b\n−5,1\n", "line 2, column 'a': '−5' is not a number"),
    "hexadecimal": ("a,b\n0x10,1\n", "line 2, column 'a': '0x10' is not a number"),
    "Fortran's exponent": ("a,b\n1,1d5\n", "line 2, column 'b': '1d5' is not a number"),
    "a decimal comma": ('a,b\n1,"1,5"\n', "line 2, column 'b': '1,5' is not a number"),
    "a word": ("a,b\nTrue,1\n", "line 2, column 'a': 'True' is not a number"),
    "a blank of another kind": ("a,b\n\u00a01,1\n", r"line 2, column 'a': '\xa01' is not a number"),
    "a line end in a cell": ('a,b\n"1\n",1\n', r"line 3, column 'a': '1\n' is not a number"),
    "control characters": ("a\x1b[31m,b\n1,\x1b[2J\n", "line 2, column 'b': '\\x1b[2J' is not a number"),
    "control characters in a name": ("a\x1b[31m\u202e,b\nx,1\n", "line 2, column 'a\\x1b[31m\\u202e': 'x' is not"),
    "such a name twice": ("a\x07,a\x07\n1,1\n", "line 1: the column name 'a\\x07' stands twice"),
    "a blank line in between, then text": ("a,b\n  \n1,2\n\t\n3,x\n", "line 5, column 'b': 'x' is not a number"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "not UTF-8 text"),
    "infinite": ("a,b\n1,-inf\n", "line 2, column 'b': '-inf' is not a finite number"),
    "one column": ("a\n1\n", "'a' is the only column"),
    "binary": (b"a,b\n\xff\xfe,1\n", "not UTF-8 text"),
    "nul": (b"a,b\n1,\x002\n", "line 2"),
}


@pytest.mark.parametrize(("text", "message"), BAD_CSV.values(), ids=BAD_CSV.keys())
def test_bad_csv(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(DataError) as info:
        data.read_csv(path)
    assert message in str(info.value)
    assert str(path) in str(info.value)


def test_what_is_a_number(tmp_path):
    cells = {"1": 1, "-1": -1, "+1": 1, "1.": 1, ".5": 0.5, "1e5": 1e5, "1E-5": 1e-5, "-1.5e+3": -1500, " 2 ": 2,
             "\t3": 3, "007": 7, "1e308": 1e308, "5e-324": 5e-324, "-0": 0, '"4"': 4, '" 5"': 5}
    for end in ("\n", "\r\n", "\r"):
        text = "\ufeffa,b" + end + "".join(f"{cell},1{end}" for cell in cells)
        assert data.read_csv(write(tmp_path, text)).features[:, 0].tolist() == list(cells.values())


def test_wide_and_long_tables_take_time_by_their_cells(tmp_path):
    names = [f"c{i}" for i in range(20_000)]
    row = ",".join(["1.5"] * len(names))
    path = write(tmp_path, "\n".join([",".join(names), row, row]))
    start = time.process_time()
    assert data.read_csv(path).features.shape == (2, 19_999)
    assert time.process_time() - start < 1
    with pytest.raises(DataError, match=r"the columns are c0, c1, .*, c29 and 19970 more$"):
        data.read_csv(path, target="z")


def test_missing_column_lists_the_columns(tmp_path):
    with pytest.raises(DataError, match="no column 'z'; the columns are a, b"):
        data.read_csv(write(tmp_path, "a,b\n1,2\n"), target="z")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none.csv"))):
        data.read_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is not a file"):
        data.read_csv(tmp_path)


# -- what comes along -----------------------------------------------------------------------------------------------


def test_breast_cancer():
    table = data.load("breast_cancer")
    assert table.features.shape == (569, 30)
    assert table.target_name == "malignant"
    assert table.target.sum() == 212  # as published: 212 malignant, 357 benign
    radius = table.features[:, table.feature_names.index("mean radius")]
    assert (radius.min(), radius.max()) == (6.981, 28.11)  # as published


def test_diabetes():
    table = data.load("diabetes")
    assert table.features.shape == (442, 10)
    assert (table.target.min(), table.target.max()) == (25, 346)  # as published
    assert table.target.mean() == pytest.approx(152.133, abs=1e-3)
    age = table.features[:, 0]
    assert (age.min(), age.max()) == (19, 79)


def test_unknown_data_set():
    with pytest.raises(DataError, match="unknown data set 'iris'; the known ones are breast_cancer, diabetes"):
        data.load("iris")


def test_origin_and_licence_are_named():
    text = (data.datasets._FILES / "README.md").read_text()
    for name in data.datasets.NAMES:
        assert f"## {name}.csv" in text
    assert text.count("Origin:") == text.count("Licence:") == len(data.datasets.NAMES)


# -- splits and scaling ---------------------------------------------------------------------------------------------


def test_split_is_a_partition_and_keeps_rows_together():
    x = np.arange(50)
    x_train, x_test, y_train, y_test = data.train_test_split(x, x * 2, test_fraction=0.3, seed=1)
    assert len(x_test) == 15
    assert sorted(np.concatenate([x_train, x_test])) == list(x)
    assert np.array_equal(y_train, x_train * 2)
    assert np.array_equal(y_test, x_test * 2)


def test_split_follows_its_seed():
    x = np.arange(100)
    first, again, other = (data.train_test_split(x, seed=s)[1].tolist() for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_stratified_split_keeps_the_proportions():
    labels = np.array([0] * 80 + [1] * 20)
    train, test = data.train_test_split(labels, test_fraction=0.25, stratify=labels)
    assert (test == 1).sum() == 5
    assert (test == 0).sum() == 20
    assert (train == 1).sum() == 15


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_split_refuses_a_fraction(fraction):
    with pytest.raises(ValueError, match="test_fraction should be between 0 and 1"):
        data.train_test_split(np.arange(10), test_fraction=fraction)


def test_split_refuses_what_cannot_be_split():
    with pytest.raises(ValueError, match="different lengths: 3, 2"):
        data.train_test_split(np.arange(3), np.arange(2))
    with pytest.raises(DataError, match="2 rows cannot be split"):
        data.train_test_split(np.arange(2), test_fraction=0.1)
    with pytest.raises(DataError, match="1 rows of one class cannot be split"):
        data.train_test_split(np.arange(11), stratify=np.array([0] * 10 + [1]))
    with pytest.raises(ValueError, match="at least one array"):
        data.train_test_split()


def test_standardise_measures_the_training_part_alone():
    train = np.array([[1.0, 5.0], [3.0, 5.0]])
    test = np.array([[5.0, 6.0]])
    scaled_train, scaled_test = data.standardise(train, test)
    assert scaled_train.tolist() == [[-1.0, 0.0], [1.0, 0.0]]  # a constant column is left at 0
    assert scaled_test.tolist() == [[3.0, 1.0]]


def test_a_column_that_differs_from_its_mean_by_rounding_is_constant():
    for number in (0.1, 1e150, 1 / 3, -7e-200):
        assert data.Standardiser.fit(np.full((1000, 1), number)).std.tolist() == [1.0]
    assert data.Standardiser.fit(np.array([[1e6], [1e6 + 1e-3]])).std[0] == pytest.approx(5e-4)


def test_standardiser_inverts():
    x = np.random.default_rng(0).normal(3, 7, (20, 4))
    scaler = data.Standardiser.fit(x)
    assert scaler.transform(x).std(axis=0) == pytest.approx(np.ones(4))
    assert scaler.inverse(scaler.transform(x)) == pytest.approx(x)


# -- datasets -------------------------------------------------------------------------------------------------------


def numbered(n=10):
    return TensorDataset(mt.arange(n).float().reshape(n, 1), mt.arange(n))


def test_tensor_dataset():
    dataset = numbered()
    x, y = dataset[3]
    assert x.tolist() == [3.0]
    assert y.item() == 3
    assert len(dataset) == 10
    with pytest.raises(ValueError, match=r"Size mismatch between tensors: .*\(2,\), \(3,\)"):
        TensorDataset(mt.zeros(2), mt.zeros(3))
    with pytest.raises(ValueError, match="Size mismatch"):
        TensorDataset(mt.tensor(1.0))
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()


def test_random_split():
    a, b = data.random_split(numbered(), [7, 3], generator=0)
    assert (len(a), len(b)) == (7, 3)
    assert sorted([*a.indices, *b.indices]) == list(range(10))
    again, _ = data.random_split(numbered(), [7, 3], generator=0)
    assert a.indices.tolist() == again.indices.tolist()
    assert [len(p) for p in data.random_split(numbered(), [0.55, 0.45], generator=0)] == [6, 4]
    assert a[0][1].item() == a.indices[0]


def test_random_split_follows_the_global_seed():
    orders = []
    for seed in (1, 1, 2):
        mt.manual_seed(seed)
        orders.append(data.random_split(numbered(), [10])[0].indices.tolist())
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_random_split_errors():
    with pytest.raises(ValueError, match=r"^Sum of input lengths does not equal the length of the input dataset!$"):
        data.random_split(numbered(), [5, 4])
    with pytest.raises(ValueError, match="add up to 1"):
        data.random_split(numbered(), [0.5, 0.4])
    with pytest.raises(ValueError, match="negative"):
        data.random_split(numbered(), [11, -1])


def test_concatenation():
    both = data.ConcatDataset([numbered(3), numbered(2)])
    assert [both[i][1].item() for i in range(len(both))] == [0, 1, 2, 0, 1]
    assert both[-1][1].item() == 1
    with pytest.raises(IndexError, match="index 5 is out of range for 5 samples"):
        both[5]


def test_a_dataset_must_say_what_it_holds():
    with pytest.raises(NotImplementedError, match="Dataset has no __len__"):
        len(data.Dataset())


# -- loader ---------------------------------------------------------------------------------------------------------


def seen(loader):
    return [y.tolist() for _, y in loader]


def test_batches_in_order():
    loader = DataLoader(numbered(), batch_size=4)
    assert seen(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader) == 3
    x, _ = next(iter(loader))
    assert tuple(x.shape) == (4, 1)


def test_drop_last():
    loader = DataLoader(numbered(), batch_size=4, drop_last=True)
    assert seen(loader) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(loader) == 2


def test_shuffling_is_seeded_and_differs_by_epoch():
    loader = DataLoader(numbered(30), batch_size=7, shuffle=True, generator=5)
    first, second = seen(loader), seen(loader)
    assert sorted(i for batch in first for i in batch) == list(range(30))
    assert first != second
    again = DataLoader(numbered(30), batch_size=7, shuffle=True, generator=5)
    assert [seen(again), seen(again)] == [first, second]
    generator = np.random.default_rng(5)
    assert seen(DataLoader(numbered(30), batch_size=7, shuffle=True, generator=generator)) == first


def test_shuffling_follows_the_global_seed():
    orders = []
    for seed in (3, 3, 4):
        mt.manual_seed(seed)
        orders.append(seen(DataLoader(numbered(30), batch_size=30, shuffle=True)))
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


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
    assert batch["y"][0].tolist() == [0, 1, 2]
    assert str(batch["y"][0].dtype) == "torch.int64"
    assert str(batch["y"][1].dtype) == "torch.float64"
    assert str(batch["y"][2].dtype) == "torch.float32"
    assert batch["y"][1].tolist() == [0.0, 1.0, 4.0]
    with pytest.raises(TypeError, match="found <class 'object'>"):
        data.default_collate([object(), object()])
    sizes = DataLoader(Squares(), batch_size=4, collate_fn=len)
    assert list(sizes) == [4, 1]


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


@pytest.mark.parametrize("lengths", [[float("nan")] * 2, [5.0, 5.0], [-1, 11], [1.5, -0.5], [3, 6], [], [0.3, 0.3]])
def test_lengths_that_add_up_to_nothing(lengths):
    with pytest.raises(ValueError, match=r"lengths should not|add up|Sum of input lengths"):
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
