"""`python -m seawall`."""

from seawall.process.commands.boundary import main

main()
