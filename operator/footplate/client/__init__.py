"""The one way in for people and programs: jobs, their progress, logs, curves and models."""
