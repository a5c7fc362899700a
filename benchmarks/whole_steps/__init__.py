"""Whole training steps on a CPU, a call at a time and many in one call: microtrain, compiled and not, and its peers."""
