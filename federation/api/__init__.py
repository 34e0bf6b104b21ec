"""Resource types, names and the identity grammar: what the contract is made of, as values."""
