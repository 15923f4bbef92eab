"""Decisions, pure: one file a policy, run in order by `reconcile` over one bucketing of the pods."""
