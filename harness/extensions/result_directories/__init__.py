"""Slim a result directory of AlphaFold without losing what is in it, bring it back, and read it in either state."""
