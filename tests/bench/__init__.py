"""Timings, which are not tests: `python -m tests.bench --help`.

`results` keeps what a machine measured, `peak` what it can multiply, `bare` times the step on one fixed batch,
`workers` the step of several processes, `running` the loop, checkpoints and starts, `table` shows it all.
"""
