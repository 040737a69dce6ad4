"""Tests in a real browser; `lab.py` says how to write one."""
