"""Symbolic-regression methods. Each is usable alone and meets the harness only at lee_bench.contract."""
