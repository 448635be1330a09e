"""The rate–distortion page: figures, tables and the template that holds them."""
