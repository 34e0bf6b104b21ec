"""Demonstrate the product on a fleet: build its images, install it, and run the example."""
