"""What is stored: the trace schema, traces as streams of blocks, and where traces come from."""
