"""ClusterClaims for the site's datasets and capacity, and the AddOnPlacementScore for its free resources."""
