"""What conclusions cost: `python tests/benchmarks/evidence.py [RECORDS]`.

Writes graded records of seven methods (10,000 unless told otherwise), runs each command on them as
a user would, and prints wall-clock seconds, processor seconds and peak memory of each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from grading import fill

COMMANDS = (
    "pareto results --json",
    "pareto results --against published --json",
    "compare results --json",
    "report results -o report.html",
    "report results --format md",
    "baseline results -o ci.json",
    "check results --baseline ci.json --json",
    "export results -o cells.csv",
    "export results -o cells.parquet",
)


def main(count: int) -> None:
    """Print one row a command."""
    program = str(Path(sys.executable).with_name("lee-bench"))
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "results", count, seeds=3)
        print(f"{count} graded records")
        print(f"{'':45} {'wall s':>7} {'cpu s':>6} {'MiB':>5}")
        for command in COMMANDS:
            begin = time.perf_counter()
            child = subprocess.Popen(
                [program, *command.split()], cwd=folder,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            _, status, used = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - begin
            cpu = used.ru_utime + used.ru_stime
            failed = "" if status == 0 else f"  exit code {os.waitstatus_to_exitcode(status)}"
            print(f"{command:45} {seconds:7.1f} {cpu:6.1f} {used.ru_maxrss / 1024:5.0f}{failed}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
