"""Frozen values that every room speaks of: tasks, classes, grants, conditions, kill switches.

It imports nothing but errors.
"""
