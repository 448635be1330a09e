"""What tables say: statistics, comparisons, claims, and the gate."""
