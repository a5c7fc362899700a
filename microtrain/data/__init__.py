"""Data: datasets and loaders, CSV files, splits and scaling, and two real data sets that come along."""

import sys as _sys

from ..arguments import guard as _guard
from .dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from .loader import DataLoader, default_collate
from .split import Standardiser, standardise, train_test_split
from .table import DataError, Table, load, read_csv

__all__ = ["ConcatDataset", "DataError", "DataLoader", "Dataset", "Standardiser", "Subset", "Table", "TensorDataset",
           "default_collate", "load", "random_split", "read_csv", "standardise", "train_test_split"]

_guard(_sys.modules[__name__], __all__, but=("Standardiser",), itself=("batch_size", "indices", "lengths"))
