"""Fakes and builders that tests of several parts share."""
