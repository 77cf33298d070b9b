"""A stand-in for Teaclave's public services, so that a client's script can be tried without an enclave."""
