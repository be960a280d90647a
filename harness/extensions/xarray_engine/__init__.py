"""Engine with which xarray opens archives: ``xarray.open_datatree(path, engine="trace-harness")``."""
