"""Seawall tests: real parts, no mocks."""

import os
import sys

# A server is four processes, and xdist's workers collect all tests: each would compile every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
