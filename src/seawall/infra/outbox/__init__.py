"""Events: written with the change that they tell of, delivered after its commit."""
