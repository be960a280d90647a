"""How a trace is stored: one file per format behind one writer and reader interface."""
