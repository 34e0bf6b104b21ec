"""Kubernetes' own objects, with the fields that decisions read. Imports only `federation.api` modules."""
