"""What makes a process: wiring, server, worker and the commands of `seawall`."""

# Whatever process it is, every table is declared in it.
from seawall.process import tables as tables
