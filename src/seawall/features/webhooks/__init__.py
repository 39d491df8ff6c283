"""Webhooks: what happens in a project, sent to the addresses its policies name."""
