"""Seawall tests: real parts, no mocks."""

import os
import sys

# A server is four processes, and xdist's workers collect all tests: each would compile every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Each HTTP client, of the tests and of what they start, reads all certificates of a file that it is given
# (50 ms of processor time); of a folder it reads what it needs.
_ROOTS = "/etc/ssl/certs"
if os.path.isdir(_ROOTS):
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = _ROOTS
