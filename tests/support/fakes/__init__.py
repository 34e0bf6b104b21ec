"""Fakes that stand in for a server, a clock or a program."""
