"""Devices: where memory comes from and what runs on it."""

from .kinds import backend as backend
from .kinds import kernel_backend as kernel_backend
