"""Symbolic-regression methods, each usable alone; lee_bench.contract is where they meet it."""
