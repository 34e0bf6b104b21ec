"""The tests, by the kind of proof they are: unit, property, contract."""
