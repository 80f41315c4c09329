"""What the flows need from the world, as small protocols. Adapters implement them.

Every method that talks to something may raise `TransientError` (the work queue retries the whole
reconcile with back-off); what else it raises, and what is durable on return, stands with it.
"""
