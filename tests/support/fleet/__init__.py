"""What the tests on the fleet share."""
