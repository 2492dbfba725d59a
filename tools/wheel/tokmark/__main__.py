"""`python -m tokmark`."""
from . import main

main()
