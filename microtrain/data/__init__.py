"""Data: datasets and loaders, CSV files, splits and scaling, and two real data sets that come along."""

import sys as _sys

from microtrain.arguments import guard as _guard
from microtrain.data.dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from microtrain.data.datasets import load
from microtrain.data.loader import DataLoader, default_collate
from microtrain.data.split import Standardiser, standardise, train_test_split
from microtrain.data.table import DataError, Table, read_csv

__all__ = [
    "ConcatDataset",
    "DataError",
    "DataLoader",
    "Dataset",
    "Standardiser",
    "Subset",
    "Table",
    "TensorDataset",
    "default_collate",
    "load",
    "random_split",
    "read_csv",
    "standardise",
    "train_test_split",
]

_guard(_sys.modules[__name__], __all__, but=("Standardiser",), itself=("batch_size", "indices", "lengths"))
