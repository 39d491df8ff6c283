"""HTTP: the Distribution API, Harbor's API, the portal, and what instances ask one another."""
