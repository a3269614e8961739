"""What a search gains by going on after an exact find: `python tests/benchmarks/going_on.py`.

Searches held-out functions (`refinement.held_out`) without noise as LEE does, but on until twice as
many expressions were offered as until a find explained all. Prints a line for each round from that
one: how many were offered by then, the seconds, and the nodes of the answer.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time

import torch
from refinement import Law, held_out

from methods.lee import checkpoint
from methods.lee.config import Refinement
from methods.lee.method import Lee
from methods.lee.model import LEE
from methods.lee.refine import Search
from methods.symbolic.problem import Problem
from methods.symbolic.search import warm_up


def path(model: LEE, law: Law, seconds: float) -> list[dict]:
    """Lines of one function; none where it was not solved."""
    problem = Problem(law.X, law.clean, [f"v{i}" for i in range(law.X.shape[1])])
    search = Search(model, problem, Refinement(), seed=sum(law.name.encode()))
    pool = search.pool
    pool.stop = lambda: ""  # an exact find would end it
    lines: list[dict] = []
    begin = time.perf_counter()
    while not lines or pool.offered < 2 * lines[0]["offered"]:
        if search.run(begin + seconds, max_rounds=len(search.history) + 1) == "time limit":
            break
        if pool.solved():
            answers, chosen = pool.answers(time.perf_counter() + 5)
            line = {"problem": law.name, "offered": pool.offered, "nodes": answers[chosen].nodes}
            line |= {"seconds": f"{time.perf_counter() - begin:.2f}"}
            lines.append(line | {"formula": str(answers[chosen].formula)})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", type=int, default=100, help="the first so many")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each search, at most")
    parser.add_argument("--shard", default="1/1", help="I/N: only part I of N")
    args = parser.parse_args()
    torch.set_num_threads(1)
    index, count = map(int, args.shard.split("/"))
    model, _ = checkpoint.load(Lee.folder("small"))
    warm_up(1)
    fields = ["problem", "offered", "nodes", "seconds", "formula"]
    writer = csv.DictWriter(sys.stdout, fields)
    writer.writeheader()
    for law in list(held_out(args.problems, 1000, 6))[index - 1 :: count]:
        writer.writerows(path(model, law, args.seconds))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
