"""`microtrain train`: trains a perceptron or a linear regression and scores it on held-out rows."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from .. import settings
from ..data import DataError, Table, load, read_csv
from ..data.table import NAMES
from ..errors import shown
from ..tensor import default_device
from ..train import checkpoint
from ..viz import check_plot_path, plot_classification, plot_regression
from .parse import DEVICES, UsageError, check_device, fraction, open_fraction, positive_float, positive_int, seed
from .tasks import TASKS, Outcome, Task, run_task

_CLASS_NAMES = {"malignant": ("benign", "malignant")}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", choices=list(TASKS), help="what to train")
    parser.add_argument("--data", metavar="NAME|FILE.csv", help=f"{', '.join(NAMES)} or a CSV file of numbers "
                        "with a header (default: one that suits the model)")
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict (default: the file's last)")
    parser.add_argument("--device", choices=DEVICES,
                        help="where to run (default: MICROTRAIN_DEVICE, else cuda where there is one, else cpu)")
    parser.add_argument("--epochs", type=positive_int, help="passes over the training rows")
    parser.add_argument("--batch-size", type=positive_int, help="rows a step")
    parser.add_argument("--lr", type=positive_float, help="learning rate")
    parser.add_argument("--momentum", type=fraction, help="momentum of the gradient descent, from 0 up to 1")
    parser.add_argument("--seed", type=seed, default=0, help="of split, weights and batches (default: 0)")
    parser.add_argument("--test-fraction", type=open_fraction, default=0.2,
                        help="share of the rows held out (default: 0.2)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the model: .safetensors or .npz")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture: .png, .pdf or .svg")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """Runs the command; everything that can be checked is checked before the training."""
    with nullcontext() if args.device is None else settings.device(args.device):
        save_path, plot_path = _check_outputs(args)
        check_device(args.device or str(default_device()))
        task = TASKS[args.model]
        table = _table(task, args)
        outcome = run_task(task, table, device=args.device, epochs=args.epochs, batch_size=args.batch_size, lr=args.lr,
                           momentum=args.momentum, seed=args.seed, test_fraction=args.test_fraction,
                           progress=not args.quiet)
        # Whatever becomes of what is printed, the model is there.
        if save_path is not None:
            checkpoint.save(outcome.model.state_dict(), save_path)
        if plot_path is not None:
            _plot(task, table, outcome, plot_path)
        _report(task, table, outcome)
        for what, path in (("model", save_path), ("picture", plot_path)):
            if path is not None:
                print(f"{what:8} {shown(str(path))}")
    return 0


def _check_outputs(args: argparse.Namespace) -> tuple[Path | None, Path | None]:
    try:
        return (None if args.save is None else checkpoint.check_checkpoint_path(args.save),
                None if args.plot is None else check_plot_path(args.plot))
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from error


def _table(task: Task, args: argparse.Namespace) -> Table:
    name = args.data or task.data
    if name in NAMES:
        table = load(name)
        if args.target not in (None, table.target_name):
            raise UsageError(f"data set '{name}' has the target '{table.target_name}'; --target is for CSV files")
        return table
    if Path(name).suffix.lower() != ".csv" and not Path(name).exists():
        raise DataError(f"unknown data set '{name}'; give {', '.join(NAMES)} or a CSV file")
    return read_csv(name, args.target)


def _report(task: Task, table: Table, outcome: Outcome) -> None:
    rows = f"{outcome.train_rows} rows trained on, {len(outcome.target)} held out"
    seconds = sum(outcome.history.seconds)
    print(f"{task.name} on {shown(table.name)}: {rows}, {len(outcome.history)} epochs in {seconds:.2f} s, "
          f"steps {outcome.history.steps}")
    print(f"held-out {task.score_name}: {outcome.score:.4f}")
    if outcome.least_squares_score is not None:
        print(f"least squares, closed form, same split: {task.score_name} {outcome.least_squares_score:.4f}")


def _plot(task: Task, table: Table, outcome: Outcome, path: Path) -> Path:
    title = f"{task.name.replace('-', ' ').capitalize()} on {table.name.replace('_', ' ')}, held out"
    if task.classification:
        names = _CLASS_NAMES.get(table.target_name, (f"{table.target_name} 0", f"{table.target_name} 1"))
        return plot_classification(outcome.target, outcome.prediction, path, title=title, class_names=names,
                                   history=outcome.history)
    return plot_regression(outcome.target, outcome.prediction, path, title=title, quantity=table.target_name,
                           history=outcome.history)
