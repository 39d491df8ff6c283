"""OCI distribution-spec conformance, case by case over plain HTTP."""
