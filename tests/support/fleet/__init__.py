"""Helpers of the tests on the fleet."""
