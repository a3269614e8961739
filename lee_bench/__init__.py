"""lee-bench: symbolic regression measured on the same data, the same clock, the same grader."""

__version__ = "0.1.0"
