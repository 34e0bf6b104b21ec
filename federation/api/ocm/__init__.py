"""Open Cluster Management's objects: clusters, add-ons, works and claims. Imports only `federation.api` modules."""
