"""The tests, in the folders of what they test. `support` holds what several of them use."""

import os

# As `configure_process` does, before a test module imports llama.cpp: its threads would spin on all cores.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
