"""Schedulers that start a gang whole or not at all: what a gang's pods carry for each of them, which object it needs
besides, and what its words mean to a user. Pure; one file a scheduler, all of them in `gangs.table`.
"""
