"""Machinery that knows no registry: settings, database, storage, secrets, jobs, outbox, Redis."""
