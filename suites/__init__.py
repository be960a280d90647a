"""What is asked: one suite a file, each a pure plan that every format executes identically."""
