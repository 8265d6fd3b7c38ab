"""Feeds damaged files and command lines to what reads them: each must be read, or refused by a message of ours.

make fuzz                                    SECONDS=60 SEED=0 KIND=all
python -m tests.fuzz --kind manifests --seconds 600 --seed 7

An input is a healthy one, made by our own code and damaged (`damage`). What reads it (`kinds`) runs in a process of its
own, with little memory and a watchdog. A failure is any exception that is not of i2i_core.errors or the kind's own, a
hang, a process that is killed, memory over the limit. The input then stays in tests/inputs/fuzz, as KIND-HASH, and
tests/unit/test_fuzz.py reads it from then on.
"""
