"""What measures and proves. `python -m benchmarks --help` lists the commands."""
