"""Decide on certificate requests, without acting. Imports only `federation.{api,kube,pki}` and `..signer`."""
