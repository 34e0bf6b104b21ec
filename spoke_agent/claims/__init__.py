"""What the hub learns of this site: datasets and capacity as ClusterClaims, what is free as an AddOnPlacementScore."""
