"""For all tests and notebooks: whether a progress bar appears must not depend on how long something takes."""

import os

os.environ["BERTLEARN_PATIENCE"] = "inf"
