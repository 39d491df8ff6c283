"""`python -m seawall`."""

from seawall.process.commands.main import main

main()
