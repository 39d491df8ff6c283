"""Content trust: Notary v1 (TUF), cosign and notation signatures, and the pull policy that asks for them."""
