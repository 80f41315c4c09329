"""Mutation testing of what decides: policies, and which pod is the agent (see `__main__`).

Another thing than `e2e/mutations`, which mutates the admission policies of the chart.
"""
