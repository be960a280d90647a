"""Estimated size of a trace under a stated model of its values, next to its size in the formats."""
