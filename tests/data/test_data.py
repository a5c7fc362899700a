"""Datasets, loaders, CSV files, splits, scaling and the data that comes along."""

import re
import time

import numpy as np
import pytest

from microtrain import data
from microtrain.data import DataError


def write(folder, text, name="t.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# -- CSV ------------------------------------------------------------------------------------------------------------


def test_read_csv(tmp_path):
    table = data.read_csv(write(tmp_path, "a, b,y\n1,2,3\n\n4,5e1,-6\n"))
    assert (table.name, table.feature_names, table.target_name, len(table)) == ("t", ("a", "b"), "y", 2)
    assert table.features.tolist() == [[1.0, 2.0], [4.0, 50.0]] and table.target.tolist() == [3.0, -6.0]
    table = data.read_csv(str(write(tmp_path, '\ufeff"a,1",b,c\n1,2,3\n')), target="b")
    assert (table.feature_names, table.features.tolist(), table.target.tolist()) == (("a,1", "c"), [[1.0, 3.0]], [2.0])


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


def test_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no column 'z'; the columns are a, b"):
        data.read_csv(write(tmp_path, "a,b\n1,2\n"), target="z")
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none.csv"))):
        data.read_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is not a file"):
        data.read_csv(tmp_path)
    with pytest.raises(DataError, match="unknown data set 'iris'; the known ones are breast_cancer, diabetes"):
        data.load("iris")


# -- what comes along -----------------------------------------------------------------------------------------------


def test_the_data_sets_are_as_published():
    cancer, diabetes = data.load("breast_cancer"), data.load("diabetes")
    assert cancer.features.shape == (569, 30) and cancer.target_name == "malignant" and cancer.target.sum() == 212
    radius = cancer.features[:, cancer.feature_names.index("mean radius")]
    assert (radius.min(), radius.max()) == (6.981, 28.11)
    assert diabetes.features.shape == (442, 10) and diabetes.target.mean() == pytest.approx(152.133, abs=1e-3)
    assert (diabetes.target.min(), diabetes.target.max()) == (25, 346)
    assert (diabetes.features[:, 0].min(), diabetes.features[:, 0].max()) == (19, 79)


def test_origin_and_licence_are_named():
    text = (data.table._FILES / "README.md").read_text()
    for name in data.table.NAMES:
        assert f"## {name}.csv" in text
    assert text.count("Origin:") == text.count("Licence:") == len(data.table.NAMES)


# -- splits and scaling ---------------------------------------------------------------------------------------------


def test_split_is_a_partition_and_keeps_rows_together():
    x = np.arange(50)
    x_train, x_test, y_train, y_test = data.train_test_split(x, x * 2, test_fraction=0.3, seed=1)
    assert len(x_test) == 15 and sorted(np.concatenate([x_train, x_test])) == list(x)
    assert np.array_equal(y_train, x_train * 2) and np.array_equal(y_test, x_test * 2)
    first, again, other = (data.train_test_split(np.arange(100), seed=s)[1].tolist() for s in (3, 3, 4))
    assert first == again != other


def test_stratified_split_keeps_the_proportions():
    labels = np.array([0] * 80 + [1] * 20)
    train, test = data.train_test_split(labels, test_fraction=0.25, stratify=labels)
    assert ((test == 1).sum(), (test == 0).sum(), (train == 1).sum()) == (5, 20, 15)


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
    scaled_train, scaled_test = data.standardise(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[5.0, 6.0]]))
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
