"""Copies between registries: replication policies, proxy-cache projects, peers."""
