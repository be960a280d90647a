"""A run in tasks on the nodes of a cluster, through submitit, merged into one run."""
