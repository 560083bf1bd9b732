"""Declare, find and run analyses."""
