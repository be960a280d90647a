"""Traces: the schema, streams of tensor blocks, and the sources of traces."""
