"""SRBench's definitions, against SRBench's own answers, and sympy kept within its limits."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from lee_bench.equivalence import (
    SymbolicGrader,
    TooLargeError,
    count_nodes,
    from_sympy,
    is_symbolic_solution,
    round_floats,
    simplified,
    to_sympy,
)
from lee_bench.errors import ExpressionError
from lee_bench.expression import parse
from lee_bench.tasks import catalog

VERDICTS = Path(__file__).parents[1] / "numeric" / "srbench_verdicts.csv"
X = np.random.default_rng(0).uniform(0.5, 3.0, size=(20, 2))


def verdicts() -> list[dict[str, str]]:
    """Rows that SRBench's grader answered within its minute."""
    with VERDICTS.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["solution"]]


def check(rows: list[dict[str, str]]) -> None:
    assert rows
    different = []
    for row in rows:
        features = row["features"].split(";")
        found, truth = parse(row["found"], features), parse(row["truth"], features)
        ours = (count_nodes(simplified(found)), is_symbolic_solution(found, truth)[0])
        theirs = (int(row["complexity"]), row["solution"] == "True")
        if ours != theirs:
            different.append((row["truth"], row["found"], ours, theirs))
    assert not different


def test_some_verdicts_and_complexities_are_srbenchs():
    check([row for row in verdicts() if len(row["found"]) < 80][::12])


def test_true_formulas_have_the_complexity_that_the_tables_say():
    """Where this fails for a formula that was changed, its table takes what is counted here."""
    known = [task for suite in ("feynman", "strogatz") for task in catalog.tasks(suite)]
    with SymbolicGrader(jobs=2) as grader:
        waits = [grader.grade(task.truth, None, task.features) for task in known]
        counted = {t.name: wait().complexity for t, wait in zip(known, waits, strict=True)}
    assert len(counted) == 133
    assert counted == {task.name: task.complexity for task in known}


@pytest.mark.slow
def test_all_verdicts_and_complexities_are_srbenchs():
    check(verdicts())


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("x", 1),
        ("x + y", 3),
        ("x + y + 1", 4),  # one sum of three terms
        ("x - y", 5),  # x + (-1)*y
        ("x/y", 5),  # x * y**(-1)
        ("x*x*x", 3),
        ("2.00001*x - 1.99999*x", 1),  # rounds to nothing
        ("0.00005*x + y", 1),
        ("1.0004*x", 3),
        ("sin(x)**2 + cos(x)**2", 1),
        ("2*x + 3*x", 3),
        ("exp(log(x))", 1),
        ("abs(x)", 2),
        ("max(x, y)", 3),
    ],
)
def test_complexity_by_hand(text, nodes):
    assert count_nodes(simplified(parse(text, ["x", "y"]))) == nodes


@pytest.mark.parametrize(
    ("truth", "found", "solution"),
    [
        ("x*y", "y*x", True),
        ("x*y", "x*y + 3.7", True),
        ("x*y", "-2.5*x*y", True),
        ("x*y", "1.0002*x*y", True),
        ("x*y", "x*y + 0.0004", True),
        ("x*y", "x*y + 0.01*x", False),
        ("x*y", "3.7", False),
        ("x*y", "0", False),
        ("x*y", "x - x", False),
        ("x*y", "0.00002*x", False),
        ("x", "abs(x)", False),  # not the same for every x
        ("x", "sqrt(x**2)", False),
        ("sin(2*x)", "2*sin(x)*cos(x)", True),
        ("2*pi*x", "6.2832*x", True),
        ("2*pi*x", "2*pi*x", True),
        ("2*pi*x", "x", True),  # the ratio is a constant
        ("2*pi*x", "6.2832*x + x**2", False),
        ("x**2 - y**2", "(x - y)*(x + y)", True),
        ("x/(x + y)", "1/(1 + y/x)", True),
        ("x", "1/(x - x)", False),
    ],
)
def test_symbolic_solution_by_hand(truth, found, solution):
    verdict, note = is_symbolic_solution(parse(found, ["x", "y"]), parse(truth, ["x", "y"]))
    assert verdict is solution
    assert note


def test_a_truth_that_srbench_itself_rejects_is_said_to_be_one():
    names = ("p_d", "epsilon", "theta", "r")
    truth = parse("p_d/(4*pi*epsilon)*3*cos(theta)*sin(theta)/r**3", names)
    verdict, note = is_symbolic_solution(truth, truth)
    assert not verdict
    assert "the truth as written" in note


def test_variables_named_like_sympy_objects():
    names = ["I", "E", "S", "N", "beta", "gamma", "pi"]
    text = "I*E + S/N - beta*gamma**pi"
    expression = parse(text, names)
    assert {s.name for s in to_sympy(expression).free_symbols} == set(names)
    assert is_symbolic_solution(parse("E*I - gamma**pi*beta + S/N", names), expression)[0]


@given(st.floats(-1e6, 1e6))
def test_rounded_floats_are_near_and_few(value):
    rounded = round_floats(sympy.Float(value))
    # Three decimals, then a mantissa of as many digits as are left: one digit takes seven bits.
    mantissa = 2**-7 if abs(value) < 0.01 else 2**-10 if abs(value) < 0.1 else 2**-13
    assert abs(float(rounded) - value) <= 5e-4 + mantissa * abs(float(rounded)) + 1e-9
    assert rounded == 0 or abs(value) >= 1e-4


terms = st.recursive(
    st.sampled_from(["x", "y", "2", "0.37", "3/7", "pi"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(
            lambda t: f"({t[0]} {t[1]} ({t[2]}))"
        ),
        st.tuples(st.sampled_from(["sin", "exp", "sqrt", "abs", "tanh", "square"]), inner).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
    ),
    max_leaves=6,
)


@given(terms)
@settings(max_examples=60, deadline=None)
def test_there_and_back_keeps_the_value(text):
    expression = parse(text, ["x", "y"])
    try:
        again = from_sympy(to_sympy(expression))
    except ExpressionError:  # sympy found it undefined everywhere, or took a root of a negative
        return
    before = expression.evaluate(X, ["x", "y"])
    after = again.evaluate(X, ["x", "y"])
    defined = np.isfinite(before) & np.isfinite(after) & (np.abs(before) < 1e12)
    np.testing.assert_allclose(after[defined], before[defined], rtol=1e-5, atol=1e-7)


def test_exact_powers_are_refused_before_they_are_computed():
    begin = time.perf_counter()
    for text in ("9**9**9", "x*9**9**9", "(1/3)**(10**9)", "square(7**4000)"):
        with pytest.raises(TooLargeError):
            to_sympy(parse(text, ["x"]))
    assert time.perf_counter() - begin < 1.0
    assert to_sympy(parse("2**10", [])) == 1024


LONG = " + ".join(f"{i}.123*sin({i}*x + y)**{i % 5 + 1}" for i in range(1, 150))
DEEP = "sin(" * 3_000 + "x" + ")" * 3_000


def test_a_question_beyond_sympy_is_an_answer_with_a_note():
    features = ("x", "y")
    with SymbolicGrader(jobs=2, seconds=1.5) as grader:
        asked = {
            name: grader.grade(text, "x + y", features)
            for name, text in {
                "long": LONG,
                "deep": DEEP,
                "large": "9**9**9*x",
                "undefined": "1/(0.00001*x + 0.00002)",
                "easy": "y + x",
            }.items()
        }
        answers = {name: wait() for name, wait in asked.items()}
        assert grader.grade("x*y", None, features)().solution is None
    raw = {name: len(parse(text, features)) for name, text in [("long", LONG), ("deep", DEEP)]}
    assert answers["long"].complexity == raw["long"]
    assert answers["long"].complexity_note == "simplify timed out (1.5 s), raw count used"
    assert answers["deep"].complexity == raw["deep"]
    assert answers["deep"].complexity_note == "simplify was nested too deeply, raw count used"
    assert "too large" in answers["large"].complexity_note
    assert answers["undefined"].complexity == 7
    assert "undefined once its constants are rounded" in answers["undefined"].complexity_note
    assert answers["easy"].complexity == 3
    assert answers["easy"].complexity_note == ""
    assert [answers[name].solution for name in asked] == [False, False, False, False, True]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS ignores the limit")
def test_memory_is_limited():
    code = (
        "import os\n"
        "from lee_bench.equivalence import _start_worker\n"
        "_start_worker(100, os.getpid())\n"
        "bytearray(50 << 20)\n"
        "try: bytearray(200 << 20)\n"
        "except MemoryError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    with SymbolicGrader(memory_mb=1) as grader:
        answer = grader.grade(LONG, "x + y", ("x", "y"))()
    assert answer.complexity == len(parse(LONG, ("x", "y")))
    assert "raw count used" in answer.complexity_note


def test_nothing_is_left_running():
    children = set(psutil.Process().children(recursive=True))
    with SymbolicGrader(jobs=2, seconds=60) as grader:
        grader.grade(LONG, "x", ("x", "y"))
        time.sleep(0.5)
    left = set(psutil.Process().children(recursive=True)) - children
    assert len([p for p in left if p.status() != psutil.STATUS_ZOMBIE]) <= 2  # the idle server


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from lee_bench.equivalence import SymbolicGrader\n"
        "if __name__ == '__main__':\n"
        "    with SymbolicGrader(jobs=1, seconds=60) as grader:\n"
        f"        grader.grade({LONG!r}, 'x', ('x', 'y'))\n"
        "        time.sleep(1)\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    parent.stdout.readline()
    family = psutil.Process(parent.pid).children(recursive=True)
    assert family
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
