"""The resource types, names and identity grammar of the contract, as values.

The add-on's own types are here; `ocm` and `kubernetes` hold the objects of others.
"""
