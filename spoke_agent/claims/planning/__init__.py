"""Plan the ClusterClaims, scores and Dataset statuses of a site, without acting. Imports only `federation`."""
