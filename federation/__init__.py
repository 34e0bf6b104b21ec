"""The vocabulary that the hub manager and the spoke agent share; it imports neither of them."""
