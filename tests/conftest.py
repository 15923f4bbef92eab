"""What all tests share."""

import os

from hypothesis import settings

# No deadline: machines are shared. The same examples everywhere but in the nightly run, which looks for new ones.
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
