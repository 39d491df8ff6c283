"""Seawall, a highly available OCI artifact registry."""


def __getattr__(name: str) -> str:
    # Read when asked for: the command line must be able to catch Ctrl-C before anything slow is imported.
    if name == "__version__":
        from importlib.metadata import version

        return version("seawall")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
