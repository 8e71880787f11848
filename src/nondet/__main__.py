import sys

from nondet.cli.main import main

sys.exit(main())
