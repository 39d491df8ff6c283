"""What makes a process: wiring, server, worker and the commands of `seawall`."""
