"""One module per stage of dvc.yaml: each reads its params, calls parts, writes its outs."""
