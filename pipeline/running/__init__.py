"""The pipeline as a run: the only room that knows Prefect and the graph of DVC."""
