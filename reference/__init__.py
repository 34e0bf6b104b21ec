"""Writes `docs/reference` and the CRDs' descriptions from the types: `python -m reference` (`make reference`).

What a field or a reason means is written once, in the docstring beneath it. Read from there with the constraints of the
CRDs, it becomes the pages that people read and the words of `kubectl explain`; `make check` sees when they differ. This
package reads the product as data, and nothing of the product knows of it.
"""
