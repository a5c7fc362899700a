"""The cpu device's compiler: a program as NumPy functions, and as machine code what is run often."""
