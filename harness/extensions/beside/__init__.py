"""Runs of other machines and budgets, shown beside a run in its report."""
