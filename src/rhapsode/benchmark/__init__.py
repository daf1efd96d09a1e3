"""Measuring speed: rhapsode against a named peer, which computes the same, in turns, in one run.

`contest` says what a contestant is and lets them take turns, each side in a process of its own (`worker`); `training`
and `writing` are what rhapsode enters, `rhapsode.backends.torch.peer` what torch enters. ``rhapsode bench`` and the
scripts in benchmarks/ are built on it.
"""
