"""The OCI Distribution API and its token endpoint."""
