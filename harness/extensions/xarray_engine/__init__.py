"""Archives as xarray opens them: ``xarray.open_datatree(path, engine="trace-harness")``."""
