"""The bench: trains codecs, codes clips with them and with anchors, scores both, reports."""
