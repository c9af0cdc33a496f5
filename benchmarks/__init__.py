"""How fast clgrad is, beside numpy, MXNet and PyTorch measured in the same run: see README.md."""
