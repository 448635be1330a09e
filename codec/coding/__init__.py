"""What makes bytes: tables, range coder, chunks and container. No float decides a bit here."""
