"""Samples: frames, end-pointing and playout. Pure numpy, no model and no device."""
