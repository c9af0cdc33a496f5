"""What real MXNet 1.9.1 answers to each op, kept in files: see README.md in this folder."""
