"""The operator's machinery: API client, reflectors, stores, work queue, lease, events, metrics, probes and poller."""
