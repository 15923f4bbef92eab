"""What is done with data before training: they are checked, divided and described. A program of its own, which the
supervisor starts; what it decides is pure, and works on whole columns.
"""
