"""The exchange and the aggregator, run inside the tests."""
