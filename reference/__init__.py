"""Generates the CRDs and `docs/reference` from the types: `python -m reference` (`make reference`).

Each field and each reason is documented once, in the docstring beneath it. With the annotations of the structs it
becomes the CRDs, their descriptions for `kubectl explain`, and the reference pages; `make check` reports a difference.
This package reads the product as data, and the product does not import it.
"""
