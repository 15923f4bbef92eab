"""The pod's first process: fetches, launches and watches the ranks, serves their progress, uploads the model, and gives
the verdict. `lifecycle` is the whole story. Imports no torch.
"""
