"""lee-bench: symbolic-regression benchmarking on the same data, the same clock and the same grader."""

__version__ = "0.1.0"
