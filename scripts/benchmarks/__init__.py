"""Measurements, and the starting and stopping of real peers that they share with the interoperability tests."""
