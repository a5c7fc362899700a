"""`explain`: what it says of pending tensors, and that saying it changes nothing."""

import importlib
import io
import os
import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import microtrain as mt
from microtrain import nn, optim, settings
from microtrain import ops as ops
from microtrain.engine import explain as explaining
from microtrain.engine import run
from microtrain.engine.explain import Explanation
from microtrain.engine.plans import plans
from microtrain.engine.session import MAX_PENDING, current, pending
from microtrain.graph.node import Kind
from microtrain.ops import PRIMITIVES
from microtrain.testing import count_kernels

pytestmark = pytest.mark.usefixtures("nothing_pending")

ROOT = Path(__file__).resolve().parents[2]


def quietly(*tensors: mt.Tensor) -> Explanation:
    return mt.explain(*tensors, file=io.StringIO())


def at_hand(*shape: int) -> mt.Tensor:
    """A tensor whose value is computed already."""
    return mt.tensor(np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32))


def settled() -> None:
    """Compute whatever earlier tests left pending."""
    for device in {node.device for node in pending()}:
        run.flush(device)


def training_step() -> tuple[mt.Tensor, list[mt.Tensor]]:
    """A step of a small classifier, recorded and not computed: its loss and its parameters."""
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    x, target = at_hand(16, 6), mt.tensor(np.arange(16) % 3)
    parameters = list(model.parameters())
    settled()
    loss = nn.CrossEntropyLoss()(model(x), target)
    loss.backward()
    optim.SGD(parameters, lr=0.3).step()
    return loss, parameters


def test_the_recorded_graph_is_listed_with_sources_shapes_and_dtypes(capsys: pytest.CaptureFixture[str]) -> None:
    x = at_hand(4, 3)
    y = mt.exp(x.double() * 2.53125).sum(1)     # a number that no other test has made a node of
    explanation = mt.explain(y)
    text = capsys.readouterr().out
    assert text == f"{explanation}\n"
    lines = [re.sub(r" +", " ", line.strip()) for line in text.splitlines()]
    assert lines[1:6] == [
        "%0 = buffer float32[4, 3] at hand",
        "%1 = cast(%0, torch.float64) float64[4, 3]",
        "%2 = 2.53125 float64[] a number, passed at run time",
        "%3 = mul(%1, %2) float64[4, 3]",
        "%4 = exp(%3) float64[4, 3]",
    ]
    assert lines[6:] == [
        "%5 = sum(%4, (1,)) float64[4] result",
        "kernels on a GPU: 1",
        "kernel 1: row over 4 rows of 3",
        "reads %0 float32[4, 3], %2 float64 number",
        "writes %5 float64[4]",
        "computes cast, mul, exp, sum",
    ]
    assert (explanation.nodes, explanation.kernels) == (6, 1)
    assert explanation.summaries[0].operations == ("cast", "mul", "exp", "sum")
    assert repr(explanation) == "<Explanation: 6 nodes, 1 kernels>"


def test_what_passes_between_kernels_has_a_name() -> None:
    explanation = quietly(mt.softmax(at_hand(40, 50) @ at_hand(50, 30), 1))
    first, second = explanation.summaries
    assert (first.template, first.domain, second.template) == ("matmul", "(40 x 50) @ (50 x 30)", "row")
    assert first.writes == ("t1 float32[40, 30]",) == second.reads
    assert set(second.operations) == {"amax", "sub", "exp", "sum", "div"}


def test_a_value_at_hand_is_said_to_be_so() -> None:
    x = at_hand(3)
    explanation = quietly(x)
    assert str(explanation) == f"at hand: {x.node.spec}, nothing to compute"
    assert explanation.kernels == explanation.nodes == 0
    y = x + 1
    assert "at hand: float32[3]@" in str(quietly(x, y)) and quietly(x, y).kernels == 1


def test_nothing_is_computed_and_the_value_is_what_it_would_have_been(device: str) -> None:
    x = at_hand(5, 7)
    y = (x * 3 + 1).mean(0)
    node, before, count = y.node, pending(), len(plans.known)
    explanation = quietly(y)
    explanation.dot()
    assert y.node is node and node.buffer is None and node.sources
    assert pending() == before and len(plans.known) == count
    text = str(explanation)
    terms = x.cpu().numpy().astype(np.float64) * 3 + 1         # each rounded twice; their sum cancels
    assert np.all(np.abs(y.cpu().numpy() - terms.mean(0)) <= 8 * 2.0 ** -24 * np.abs(terms).mean(0))
    assert str(explanation) == text, "an explanation is of the moment at which it was made"
    assert quietly(y).kernels == 0


def operations_until_computed(explain_every: int) -> int:
    total = at_hand() + 1           # computed here, so that the constant is there before counting starts
    settled()
    first = total + 1
    current().start_counting()
    for n in range(1, 4 * MAX_PENDING):
        total = total + 1
        if first.node.buffer is not None:
            return n
        if explain_every and n % explain_every == 0:
            quietly(total)
    raise AssertionError("a running sum was never computed")


def test_explaining_does_not_bring_a_computation_forward() -> None:
    assert operations_until_computed(explain_every=400) == operations_until_computed(explain_every=0)


def test_a_step_that_has_ended_is_still_computed_before_the_next_begins() -> None:
    loss, parameters = training_step()
    quietly(loss)
    assert parameters[0].node.buffer is None
    parameters[0].sum()
    assert all(parameter.node.buffer is not None for parameter in parameters)


def test_the_kernels_are_those_that_reading_the_values_launches() -> None:
    loss, parameters = training_step()
    everything = quietly()
    assert "result" in str(everything) and f"{loss.node.primitive.name}(" in str(everything)
    with count_kernels() as counted:
        loss.item()
    assert all(parameter.node.buffer is not None for parameter in parameters)
    assert everything.kernels == counted.kernels > 1


def test_a_tensor_of_a_step_is_explained_alone() -> None:
    loss, _ = training_step()
    alone, everything = quietly(loss), quietly()
    assert alone.kernels < everything.kernels and alone.nodes < everything.nodes
    others = re.search(r"\((\d+) other pending values", str(alone))
    assert others is not None and int(others[1]) == len(pending()) - 1
    assert "other pending" not in str(everything)
    settled()
    assert str(quietly()) == "nothing is pending"


def test_without_fusion_every_operation_is_a_kernel() -> None:
    y = mt.tanh(at_hand(4, 3) + 1.5) * 0.7
    with settings.fuse(False):
        assert [kernel.operations for kernel in quietly(y).summaries] == [("add",), ("tanh",), ("mul",)]
    assert quietly(y).kernels == 1


def test_a_result_that_is_an_input_or_empty_takes_no_kernel() -> None:
    assert quietly(at_hand(4) * 1).kernels == 0
    assert quietly(mt.zeros(0, 3) + 1.5).kernels == 0


def test_tensors_of_two_devices_are_two_graphs() -> None:
    here, there = at_hand(3) + 1, mt.ones(2, 2, device="null") * 2.5
    explanation = quietly(here, there)
    assert "graph of 4 nodes on null:sm_90" in str(explanation)
    assert explanation.kernels == 2
    assert len(set(re.findall(r"subgraph (\w+)", explanation.dot()))) == 2


def test_explaining_needs_neither_triton_nor_torch() -> None:
    code = ("import sys, microtrain as mt; x, y = (mt.ones(s, device='null') for s in ((8, 5), (5, 3)));"
            "mt.explain(x * 1.5 @ y); print(sorted({'torch', 'triton'} & set(sys.modules)))")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True,
                         env={**environment, "MICROTRAIN_DEVICE": "cpu"})
    assert "matmul over (8 x 5) @ (5 x 3)" in run.stdout and run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("wrong", [3, "x", np.ones(3), None])
def test_what_is_no_tensor_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match=rf"explain\(\) takes tensors, not {type(wrong).__name__}"):
        mt.explain(wrong)


def test_the_debug_flag_describes_the_same_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    settled()
    y = mt.softmax(at_hand(4, 9), 1)
    kernel = str(quietly(y).summaries[0])
    with settings.debug(2):
        y.tolist()
    said = capsys.readouterr().err
    assert f"  kernel 1: {kernel}".replace("%0", "a0").replace("%1", "out0") in said


# ------------------------------------------------------------------------------------------------------------- pictures

def test_the_picture_has_a_cluster_for_each_kernel_and_no_loose_ends() -> None:
    loss, _ = training_step()
    explanation = quietly()
    dot = explanation.dot()
    assert loss.node.buffer is None
    titles = re.findall(r'subgraph cluster_\w+ \{\n    label="kernel (\d+): (\w+)', dot)
    assert titles == [(str(i), kernel.template) for i, kernel in enumerate(explanation.summaries, 1)]
    declared = re.findall(r"^ +(\w+) \[label", dot, re.MULTILINE)
    edges = re.findall(r"^  (\w+) -> (\w+);$", dot, re.MULTILINE)
    assert len(set(declared)) == len(declared) and {name for edge in edges for name in edge} == set(declared)
    stored = sum(len(kernel.writes) for kernel in explanation.summaries)
    assert dot.count("style=bold") == stored
    assert dot.count("{") == dot.count("}")


def test_dot_text_is_written_without_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    y = at_hand(3) + 1
    target = tmp_path / "graph.dot"
    explanation = mt.explain(y, file=io.StringIO(), draw=target)
    assert target.read_text() == explanation.dot()
    with pytest.raises(RuntimeError, match="install graphviz"):
        explanation.draw(tmp_path / "graph.svg")
    with pytest.raises(ValueError, match=r"graph\.txt.*one of \.dot, \.gv, \.svg"):
        explanation.draw(str(tmp_path / "graph.txt"))
    with pytest.raises(FileNotFoundError):
        explanation.draw(tmp_path / "missing" / "graph.dot")
    assert [path.name for path in tmp_path.iterdir()] == ["graph.dot"]


def test_other_pictures_are_rendered_by_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = tmp_path / "bin" / "dot"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho "$1"\ncat\n')
    stand_in.chmod(0o755)
    monkeypatch.setattr(explaining.shutil, "which", lambda name: str(stand_in))
    explanation = quietly(at_hand(3) + 1)
    target = explanation.draw(tmp_path / "graph.svg")
    assert target.read_text() == f"-Tsvg\n{explanation.dot()}"
    stand_in.write_text("#!/bin/sh\ncat > /dev/null\necho half a picture\necho no such font >&2\nexit 1\n")
    with pytest.raises(RuntimeError, match="could not draw the graph: no such font"):
        explanation.draw(target)
    assert target.read_text().startswith("-Tsvg"), "a picture that fails leaves the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "graph.svg"]


# ---------------------------------------------------------------------------------------------------- the page about it

DOCS = ROOT / "docs"


def test_the_overview_lists_the_files() -> None:
    text = (DOCS / "architecture.md").read_text()
    assert runpy.run_path(str(DOCS / "refresh.py"))["listed"](text) == text, "run: python docs/refresh.py"


def test_the_recipes_name_files_that_are_there() -> None:
    for page in (ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")):
        for name in re.findall(r"`((?:microtrain|kernels|tests|benchmarks|docs)/[\w/]+\.\w+)`", page.read_text()):
            assert (ROOT / name).exists() or name in MADE_UP, f"{page.name}: {name}"


MADE_UP = {"kernels/single.py", "microtrain/compiler/templates/single.py"}
"""What a recipe has its reader write."""


def test_the_page_shows_what_its_example_prints() -> None:
    text = (DOCS / "step.md").read_text()
    assert runpy.run_path(str(DOCS / "refresh.py"))["refreshed"](text) == text, "run: python docs/refresh.py"


def test_the_page_of_compiled_steps_shows_what_its_example_prints() -> None:
    tools = runpy.run_path(str(DOCS / "refresh.py"))
    text = tools["COMPILE"].read_text()
    assert tools["replaced"](text, "printed: explain", tools["explained"](text)) == text, "run: python docs/refresh.py"


def test_the_page_of_fusion_lists_and_draws_the_kernels_of_its_examples() -> None:
    """The lists, and the pictures by the hash of the DOT text that they were drawn from."""
    tools = runpy.run_path(str(ROOT / "docs" / "refresh.py"))
    text = tools["FUSION"].read_text()
    found = tools["explanations"](text)
    assert list(found) == ["logistic", "mlp-momentum", "mlp-adam", "layer-norm", "attention"]
    for name, (kernels, dot) in found.items():
        assert f"<!-- kernels: {name} -->\n```\n{kernels.rstrip()}\n```" in text, "run: python docs/refresh.py"
        assert f"](fusion/{name}.svg)" in text
        picture = (tools["PICTURES"] / f"{name}.svg").read_text()
        assert picture.startswith(tools["stamp"](dot)), "run: python docs/refresh.py"
        assert picture.count('class="cluster"') == int(kernels.split("\n")[0].rpartition(" ")[2])


def test_the_page_names_the_limits_that_are_in_force() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \| `([a-z_.]+)` \|", (DOCS / "promises.md").read_text(), re.MULTILINE)
    assert len(rows) >= 15
    for name, value, module in rows:
        assert getattr(importlib.import_module(f"microtrain.{module}"), name) == int(value), name


def test_the_page_and_its_picture_name_every_part_of_the_package() -> None:
    parts = {path.name for path in (ROOT / "microtrain").iterdir() if (path / "__init__.py").exists()}
    for text in ((DOCS / "architecture.md").read_text(), (DOCS / "architecture.svg").read_text()):
        assert parts <= set(re.findall(r"\w+", text))


def test_the_page_says_how_small_the_table_is() -> None:
    kinds = Counter(primitive.kind for primitive in PRIMITIVES.values())
    composites = kinds.pop(Kind.COMPOSITE)
    told = re.search(r"small: (\d+) primitives \((\d+) maps, (\d+) views, (\d+) reductions, (\d+) product, "
                     r"(\d+) of indices, (\d+) leaves and constants\)\. The\s+(\d+) composites",
                     (DOCS / "operations.md").read_text())
    assert told is not None
    order = (Kind.MAP, Kind.VIEW, Kind.REDUCE, Kind.MATMUL, Kind.INDEX)
    leaves = kinds[Kind.LEAF] + kinds[Kind.CONSTANT]
    assert [int(n) for n in told.groups()] == [kinds.total(), *[kinds[k] for k in order], leaves, composites]
