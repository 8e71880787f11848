import sys

from nondet.cli import main

sys.exit(main())
