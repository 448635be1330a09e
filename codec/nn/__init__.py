"""What trains: transforms, networks, quantizers, priors and losses."""
