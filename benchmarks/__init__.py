"""Benchmarks, each a program: its docstring says how to run it."""
