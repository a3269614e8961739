"""Ask SRBench's own grader about every formula in srbench_verdicts.csv and rewrite its answers.

    git clone https://github.com/cavalab/srbench && git -C srbench checkout v2.0
    python tests/numeric/srbench_verdicts.py srbench/experiment

Their program runs as it is, on files made for it, and only its answers are kept: the numbers are
facts, the program is GPL and stays outside. A formula it needs more than a minute for keeps its
empty answer and is skipped by the test. New rows may be added with empty answers.

The answers depend on sympy's version, for the same rules. These are of sympy 1.14, for which all
590 equal ours; with sympy 1.8, of SRBench's own time, their grader gives the same complexity for
551 of 588 and the same verdict for 582, most of the others being ``c*sqrt(x**2 + d)``.

Left out on purpose, because the two differ in what a text means, not in the rules: the constant
``e`` (a variable to SRBench) and roots and logarithms of negative constants (SRBench takes the
absolute value; here they are undefined, as in float64).
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

from lee_bench.expression import Expression, Variable, parse

TABLE = Path(__file__).with_suffix(".csv")
SECONDS = 60
COLUMNS = ["kind", "task", "features", "truth", "found", "complexity", "solution"]
NOT_A_SOLUTION = (None, "0", "nan")


def ask(assess, row: dict[str, str]) -> tuple[str, str]:
    """Complexity and verdict of one row, as text; empty if it took too long."""
    features = row["features"].split(";")
    # Their clean-up turns x1, x2, ... into the features' names by replacing text.
    numbered = {f: Expression((Variable(f"x{i}"),)) for i, f in enumerate(features, start=1)}
    found = str(parse(row["found"], features).substitute(numbered))
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder, "data.tsv")
        dataset.write_text("\t".join([*features, "target"]) + "\n" + "1\t" * len(features) + "1\n")
        Path(folder, "metadata.yaml").write_text(
            json.dumps({"description": f"target = {spelled(row['truth'])}"})
        )
        result = Path(folder, "result.json")
        result.write_text(
            json.dumps({"algorithm": "operon", "symbolic_model": spelled(found), "r2_test": 1.0})
        )
        signal.alarm(SECONDS)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                assess(str(result), str(dataset))
        except TimeoutError:
            return "", ""
        finally:
            signal.alarm(0)
        answer = json.loads(Path(f"{result}.updated").read_text())
    if "took too long" in answer.get("sympy_exception", ""):
        return "", ""
    constant = [
        answer[f"symbolic_{name}"]
        for name in ("error_is_zero", "error_is_constant", "fraction_is_constant")
    ]
    simplified = answer.get("simplified_symbolic_model")
    solved = any(constant) and simplified not in NOT_A_SOLUTION
    return str(answer["simplified_complexity"]), str(solved)


def spelled(formula: str) -> str:
    """sympy's names, and no operator that their clean-up would take for part of a name."""
    return re.sub(r"\barc(\w+)\(", r"a\1(", formula).replace("/", " / ")


def stop(*_: object) -> None:
    raise TimeoutError("took too long")


def main(experiment: Path) -> None:
    sys.path.insert(0, str(experiment))
    from assess_symbolic_model import assess_symbolic_model_from_file

    signal.signal(signal.SIGALRM, stop)
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["complexity"], row["solution"] = ask(assess_symbolic_model_from_file, row)
        print(number, row["task"], row["complexity"], row["solution"], flush=True)
    temporary = TABLE.with_suffix(".new")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, TABLE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
