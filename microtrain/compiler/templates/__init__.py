"""The kernel templates, each in a file of its own: what the compiler knows of it beside the kernel in `kernels`."""
